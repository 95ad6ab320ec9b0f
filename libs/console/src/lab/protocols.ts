import { BROKER } from '../lanes';
import type { Point } from './lab-types';

type Texts = Record<'en' | 'zh', string>;

/** A step of a protocol: an arrow between two lanes, or work inside one. */
export interface ProtocolStep {
  readonly step: number;
  readonly from: string;
  readonly to: string;
  readonly text: Texts;
}

export interface Protocol {
  /** What the scheme does, in one sentence. */
  readonly about: Texts;
  readonly lanes: readonly string[];
  readonly steps: readonly ProtocolStep[];
}

const step = (n: number, from: string, to: string, en: string, zh: string): ProtocolStep => ({
  step: n,
  from,
  to,
  text: { en, zh },
});

/** The steps of docs/schemes, in few words, with the apps of the demo. */
const PROTOCOLS: Record<string, Protocol> = {
  'local-message': {
    about: {
      en: "Local message table (transactional outbox): the message is a row of the order's transaction.",
      zh: '本地消息表（事务性发件箱）：消息是订单事务中的一行。',
    },
    lanes: ['order', BROKER, 'inventory'],
    steps: [
      step(1, 'order', 'order', 'Order and message row in one commit', '订单与消息行一次提交'),
      step(2, 'order', BROKER, 'Publish, confirmed', '发布并确认'),
      step(
        3,
        BROKER,
        'inventory',
        'Handle once: inbox row and goods in one commit',
        '只处理一次：收件行与库存一次提交',
      ),
      step(4, 'inventory', BROKER, 'Receipt, then ack', '回执，然后确认消息'),
      step(5, BROKER, 'order', 'DONE when all receipts are in', '收齐回执后 DONE'),
      step(6, 'order', BROKER, 'A scan resends what stays open', '扫描重发未完成的行'),
    ],
  },
  'half-message': {
    about: {
      en: 'Half message: the broker holds the message back until its sender has committed.',
      zh: '半消息：发送方提交之前，代理保留消息。',
    },
    lanes: ['inventory', BROKER, 'payment'],
    steps: [
      step(1, 'inventory', BROKER, 'Prepared message waits in the broker', '预备消息在代理中等待'),
      step(2, 'inventory', 'inventory', 'Business and verdict in one commit', '业务与裁决一次提交'),
      step(3, 'inventory', BROKER, 'The message itself, confirmed', '正式消息，已确认'),
      step(4, BROKER, 'inventory', 'Check of an expired prepared message', '回查到期的预备消息'),
      step(5, BROKER, 'payment', 'Handle once: inbox row and money in one commit', '只处理一次：收件行与资金一次提交'),
      step(6, 'payment', 'inventory', 'Receipts make it DONE, a sweeper resends', '回执后 DONE，清扫者重发'),
    ],
  },
  tcc: {
    about: {
      en: 'TCC: every app reserves, then all confirm or all cancel.',
      zh: 'TCC：各应用先预留，然后全部确认或全部取消。',
    },
    lanes: ['payment', BROKER, 'inventory'],
    steps: [
      step(1, 'payment', 'payment', 'Register all branches, own Try, one commit', '登记所有分支与自己的 Try，一次提交'),
      step(2, 'payment', 'inventory', 'Try: reserve at every participant', 'Try：各参与者预留'),
      step(3, 'payment', 'payment', 'Decide by one compare-and-set', '一次比较并设置作出决定'),
      step(4, 'payment', 'inventory', 'Confirm or Cancel until each answered', 'Confirm 或 Cancel，直到全部应答'),
    ],
  },
  saga: {
    about: {
      en: 'Saga: one step after the other, and after a refusal each step is undone.',
      zh: 'Saga：逐步执行，被拒绝后逐步撤销。',
    },
    lanes: ['order', 'inventory', 'payment'],
    steps: [
      step(1, 'order', 'order', 'Saga and its first step, the order, in one commit', 'Saga 与第一步（订单）一次提交'),
      step(
        2,
        'order',
        'inventory',
        'Do: the goods, with barrier and result in one commit',
        'Do：库存，屏障与结果一次提交',
      ),
      step(3, 'order', 'payment', 'Mark the pivot, then Do: the money', '标记关键步骤，然后 Do：资金'),
      step(4, 'order', 'inventory', 'After a refusal: Undo in reverse order', '被拒绝后：按相反顺序 Undo'),
      step(5, 'order', 'order', 'Last step and final mark in one commit', '最后一步与最终标记一次提交'),
    ],
  },
  xa: {
    about: {
      en: 'XA: every database prepares, then all commit or none.',
      zh: 'XA：各数据库先准备，然后全部提交或全部回滚。',
    },
    lanes: ['order', 'payment', 'inventory'],
    steps: [
      step(1, 'order', 'order', 'Begin writes nothing', '开始时不写入'),
      step(2, 'order', 'inventory', 'Work and XA PREPARE in every database', '各数据库执行并 XA PREPARE'),
      step(3, 'order', 'order', 'Decision row and order in one commit', '决定行与订单一次提交'),
      step(4, 'order', 'inventory', 'XA COMMIT in every database', '各数据库 XA COMMIT'),
      step(5, 'order', 'inventory', 'Recovery settles branches in doubt', '恢复处理悬而未决的分支'),
    ],
  },
  notify: {
    about: {
      en: 'Notification: another system gets the result, again until it answers.',
      zh: '通知：把结果告知其他系统，直到得到应答。',
    },
    lanes: ['payment', BROKER, 'order'],
    steps: [
      step(1, 'payment', BROKER, 'Publish the result after the commit', '提交后发布结果'),
      step(2, BROKER, 'payment', 'Record the notification', '记录通知'),
      step(3, 'payment', 'order', 'Call the target', '调用目标'),
      step(4, 'payment', 'order', 'Call again, then raise an alert', '再次调用，最后告警'),
      step(5, 'order', 'payment', 'The target asks by itself', '目标自行查询'),
    ],
  },
  'reliable-message': {
    about: {
      en: 'Confirmed publish: the broker confirms the message before the transaction commits.',
      zh: '确认发布：代理确认消息之后，事务才提交。',
    },
    lanes: ['inventory', BROKER, 'order'],
    steps: [
      step(1, 'inventory', BROKER, 'Publish inside the transaction, confirmed', '在事务内发布并确认'),
      step(2, BROKER, 'order', 'Work, mark as done in Redis, then ack', '执行，在 Redis 标记，然后确认消息'),
    ],
  },
};

const NONE: Texts = { en: '', zh: '' };

/** A scheme without a text of its own has the lanes of its points. */
export function protocolOf(scheme: string, points: readonly Point[]): Protocol {
  return PROTOCOLS[scheme] ?? { about: NONE, lanes: [...new Set(points.map(({ app }) => app))], steps: [] };
}

/** What the scheme does, in one sentence. Empty for a scheme without a text. */
export const aboutScheme = (scheme: string, language: keyof Texts): string =>
  (PROTOCOLS[scheme]?.about ?? NONE)[language];

export type DiagramRow =
  | { readonly step: ProtocolStep; readonly point: null }
  | { readonly step: null; readonly point: Point };

/** Each step, and below it its crash points. */
export function rowsOf({ steps }: Protocol, points: readonly Point[]): DiagramRow[] {
  const numbers = [...new Set([...steps.map((one) => one.step), ...points.map((one) => one.step)])].sort(
    (a, b) => a - b,
  );
  return numbers.flatMap((number) => [
    ...steps.filter((one) => one.step === number).map((one) => ({ step: one, point: null })),
    ...points.filter((one) => one.step === number).map((point) => ({ step: null, point })),
  ]);
}
