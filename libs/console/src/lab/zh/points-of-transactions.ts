import type { PointTexts } from './point-texts.js';

const GOES_ON = '租约到期后，由任一实例的扫描继续。已完成的步骤用保存的结果应答。';
const COMPENSATES = '租约到期后，由任一实例的扫描补偿。已撤销的步骤按重复调用应答。';
const NO_WORK = '没有剩余工作。没有得到应答的调用方用 Idempotency-Key 查询结果。';
const REFUSED = '购买数量超过库存，之前的步骤因此被撤销';

export const saga: PointTexts = {
  started: ['Saga（RUNNING，带截止时间）与调用方的工作一起提交，尚未调用任何步骤。', GOES_ON],
  'step-answered': ['一个步骤已在它的应用提交并应答，Saga 的行还不知道。', GOES_ON],
  'pivot-marked': ['Saga 为 PIVOT，带有目前的结果。取消和截止时间不再能改变它。关键步骤尚未调用。', GOES_ON],
  'pivot-answered': ['关键步骤已在它的应用提交并应答，Saga 仍为 PIVOT。', GOES_ON],
  fenced: [
    '关键步骤的应用已记录该步骤永不运行，或已经运行。Saga 仍为 PIVOT。',
    '由任一实例的扫描再次询问，记录给出相同的应答。',
    '关键步骤的应答在 10 秒后的截止时间前都丢失，必须由隔离记录查明',
  ],
  decided: ['Saga 为 COMPENSATING，带有原因。尚未撤销任何步骤。', COMPENSATES, REFUSED],
  'first-undone': ['至少一个步骤已在它的应用撤销，Saga 仍为 COMPENSATING。', COMPENSATES, REFUSED],
  'all-undone': ['每个步骤都已在它的应用撤销，Saga 仍为 COMPENSATING。', COMPENSATES, REFUSED],
  marked: ['Saga 为 COMPLETED 或 COMPENSATED，没有剩余工作。', NO_WORK],
  'do-inserted': [
    '步骤的应用已插入屏障行但未提交，磁盘上没有 Do 的任何内容。',
    '代理再次投递调用。如果 Undo 先到，屏障拒绝 Do。',
  ],
  'do-committed': [
    'Do 的屏障、结果和业务已在步骤的应用提交，应答未发送。',
    '代理或 Saga 重复调用，屏障用保存的结果应答。',
  ],
  'undo-committed': [
    'Undo 的屏障和业务已在步骤的应用提交，应答未发送。',
    '代理或 Saga 重复调用，屏障按重复调用应答。',
    REFUSED,
  ],
};

const CANCELS = '截止时间过后，由发起方任一实例的扫描取消。';
const SECOND_PHASE = '租约到期后，由发起方任一实例的扫描重复第二阶段。';

export const tcc: PointTexts = {
  registered: ['事务（TRYING，带截止时间）、所有分支和发起方自己的 Try 已一起提交，尚未发送其他 Try。', CANCELS],
  tried: ['每个 Try 都已应答，各参与者的预留已提交。还没有决定。', CANCELS],
  deciding: ['每个 Try 都已应答。决定和自己参与者的 Confirm 未提交，事务为 TRYING。', CANCELS],
  decided: [
    '决定（CONFIRMING 或 CANCELLING）已在发起方提交，CONFIRMING 与自己参与者的 Confirm 一起。尚未调用其他分支。',
    SECOND_PHASE,
  ],
  'first-branch': ['决定已提交，至少一个分支已执行，其他分支可能尚未执行。', SECOND_PHASE],
  'all-branches': ['每个分支都已执行决定，发起方的事务仍为 CONFIRMING 或 CANCELLING。', SECOND_PHASE],
  marked: ['发起方的事务为 CONFIRMED 或 CANCELLED，没有剩余工作。', NO_WORK],
  'try-inserted': [
    '参与者已插入屏障行但未提交，磁盘上没有 Try 的任何内容。',
    '代理再次投递调用。如果 Cancel 先到，屏障拒绝 Try。',
  ],
  'try-committed': [
    'Try 的屏障和预留已在参与者提交，应答未发送。',
    '代理再次投递调用，屏障按重复调用应答，或者到截止时间取消。',
  ],
  'second-committed': [
    'Confirm 或 Cancel 的屏障和业务已在参与者提交，应答未发送。',
    '代理或发起方重复调用，屏障按重复调用应答。',
  ],
};

const ROLLS_BACK = '截止时间过后，由任一实例的恢复回滚已准备的分支。';
const COMMITS_REST = '租约到期后，由任一实例的扫描提交仍处于准备状态的分支。';
const ORPHAN = '先丢失一次 PREPARE 的应答，恢复在截止时间找到一个孤立分支';

export const xa: PointTexts = {
  worked: ['每个分支都已执行工作，没有分支已准备。磁盘上什么都没有。', '连接结束时服务器回滚。调用方重复调用。'],
  'prepared-first': ['至少一个分支已准备并持有锁，还没有决定。', ROLLS_BACK],
  'prepared-all': ['所有分支都已准备并持有锁，决定日志中没有行。', ROLLS_BACK],
  decided: ['提交的决定与最后一个资源的业务一起提交，所有分支处于准备状态。', COMMITS_REST],
  'first-branch': ['决定和至少一个分支已提交，其他分支可能仍处于准备状态。', COMMITS_REST],
  'all-branches': [
    '每个分支都已提交，决定的行仍为 COMMITTING。',
    '由任一实例的扫描发现所有见证都已提交，并把该行标记为 DONE。',
  ],
  marked: ['决定的行为 DONE，没有剩余工作。', NO_WORK],
  doubted: [
    '决定日志的一个故障为 PARKED，并有一个告警。已准备的分支保持准备状态。',
    '由操作员手工提交必须提交的分支，然后处理该故障。其余由恢复回滚。',
    '有一个分支记录为已提交，但日志中没有决定；不涉及购买',
  ],
  presumed: ['恢复已为仍处于准备状态的孤立分支在决定日志写入 ROLLBACK。', '由任一实例的扫描回滚它的分支。', ORPHAN],
  claimed: [
    '孤立事务的每个分支都已回滚，它的见证已被认领。该行仍为 ROLLING_BACK。',
    '由任一实例的扫描找到认领，并把该行标记为 DONE。',
    ORPHAN,
  ],
};
