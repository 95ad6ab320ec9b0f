import { GUARDED } from './guard-edit.js';
import type { Mutant } from './mutant.js';

const DELIVERED = 'message of a committed sale is SENT';
const GAVE_UP = 'an exhausted prepared message is parked';
const NO_VERDICT = { guard: 'half-message.verdict', becomes: '' } as const;
const INSERT_VERDICT = `const verdict = this.verdicts.committed(message);
        await this.database.own.query(verdict.statement, verdict.values)`;

export const checkIsARead: Mutant = {
  name: 'check-is-a-read',
  does: 'the check takes a missing verdict for ROLLED_BACK instead of claiming it',
  breaks: 'a local transaction that is still open then commits, and its message is lost if its process dies',
  foundBy: DELIVERED,
  edits: [{ guard: 'half-message.rule', becomes: `return 'ROLLED_BACK';` }],
};

export const verdictApart: Mutant = {
  name: 'verdict-apart',
  does: 'the verdict COMMITTED is committed in a transaction of its own, before the business',
  breaks: 'a crash in between sends the message of a sale that never was',
  foundBy: 'messages of a sale whose stock was never taken',
  edits: [NO_VERDICT, { guard: 'half-message.commit', becomes: `${INSERT_VERDICT}; ${GUARDED}` }],
};

export const lateIsLet: Mutant = {
  name: 'late-is-let',
  does: 'a local transaction goes on although the check has ruled ROLLED_BACK before it began',
  breaks: 'the stock is taken and no message is ever sent',
  foundBy: 'stock taken by a sale that was ruled back',
  edits: [NO_VERDICT, { guard: 'half-message.work', becomes: `${INSERT_VERDICT}.catch(() => {}); ${GUARDED}` }],
};

export const lastLevelDrops: Mutant = {
  name: 'last-level-drops',
  does: 'a prepared message without a verdict at its last check is dropped, as RocketMQ discards after 15',
  breaks: 'no alert tells that a transaction has been open for all that time',
  foundBy: GAVE_UP,
  edits: [{ guard: 'half-message.park', becomes: `return; ${GUARDED}` }],
};

export const countsByXDeath: Mutant = {
  name: 'counts-by-x-death',
  does: 'checks are counted by the broker’s x-death header instead of by the prepared message itself',
  breaks: 'the header begins anew with each publish, so the last check never comes',
  foundBy: GAVE_UP,
  edits: [
    {
      guard: 'half-message.copy',
      becomes: `${GUARDED}
        if (prepared) prepared.checks = (delivery.message.properties.headers?.['x-death']?.[0]?.count ?? 1) - 1;`,
    },
  ],
};

export const noSweeper: Mutant = {
  name: 'no-sweeper',
  does: 'committed verdicts that were never marked as sent are not swept',
  breaks: 'an operator who deletes a waiting queue deletes a committed message with it',
  foundBy: DELIVERED,
  edits: [{ guard: 'half-message.sweeper', becomes: '' }],
};

export const parkedByACopy: Mutant = {
  name: 'parked-by-a-copy',
  does: 'a parked prepared message that comes again is parked again, also after an operator has resolved it',
  breaks: 'the operator has the same incident a second time, and a retry in work is undone',
  foundBy: 'state of the resolved message',
  edits: [
    {
      guard: 'half-message.parked-once',
      becomes: `const isThere = !(await insertFirst(sql, 'dtx_half_parked', { ...row, ...parkedColumns(lastError) }));
        if (isThere) await sql.query("UPDATE dtx_half_parked SET state = 'PARKED' WHERE id = ?", [row.id]);`,
    },
  ],
};

export const lossSeenBefore: Mutant = {
  name: 'loss-seen-before',
  does: 'a loss of verdicts is reported as it was seen, without a look under the lock of its row',
  breaks: 'an operator who has just resolved it gets it again, though no verdict is missing',
  foundBy: 'state of the resolved loss',
  edits: [{ guard: 'half-message.still-lost', condition: 'false' }],
};
