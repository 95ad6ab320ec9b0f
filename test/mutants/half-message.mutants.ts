import type { Mutant } from './mutant.js';

const CHECK = 'half-message/check-back.js';
const PREPARE = 'half-message/prepare.js';
const VERDICT = 'first: { ...this.verdicts.committed(message), ifThere: () => new RuledBack(message.id) },';
const DELIVERED = 'message of a committed sale is SENT';
const GAVE_UP = 'a copy that gave up waits for a person';

export const checkIsARead: Mutant = {
  name: 'check-is-a-read',
  does: 'the check reads the verdict, and takes none for ROLLED_BACK, instead of ruling it',
  breaks: 'a local transaction that is still open then commits, and its message is lost should its process die',
  foundBy: DELIVERED,
  edits: [{ file: CHECK, find: '(await this.rule(prepared.message))', replace: `'ROLLED_BACK'` }],
};

export const verdictApart: Mutant = {
  name: 'verdict-apart',
  does: 'the verdict COMMITTED is committed in a transaction of its own, before the business',
  breaks: 'a crash in between sends a message of what never was',
  foundBy: 'messages of a sale whose stock was never taken',
  edits: [
    { file: PREPARE, find: VERDICT, replace: '' },
    {
      file: PREPARE,
      find: 'return await failpoint(failpoints.committed,',
      replace: `const verdict = this.verdicts.committed(message);
        await this.database.own.query(verdict.statement, verdict.values);
        return await failpoint(failpoints.committed,`,
    },
  ],
};

export const lateIsLet: Mutant = {
  name: 'late-is-let',
  does: 'a local transaction goes on though the check has ruled ROLLED_BACK before it began',
  breaks: 'the stock is taken and nobody ever hears of it',
  foundBy: 'stock taken by a sale that was ruled back',
  edits: [
    { file: PREPARE, find: VERDICT, replace: '' },
    {
      file: PREPARE,
      find: 'return work(tx);',
      replace: `const verdict = this.verdicts.committed(message);
        await this.database.own.query(verdict.statement, verdict.values).catch(() => {});
        return work(tx);`,
    },
  ],
};

export const lastLevelDrops: Mutant = {
  name: 'last-level-drops',
  does: 'a copy whose last check knows nothing is dropped, as RocketMQ discards after 15',
  breaks: 'nobody learns that a transaction has been open for all that time',
  foundBy: GAVE_UP,
  edits: [{ file: CHECK, find: 'this.parked.park(message, used)', replace: 'Promise.resolve()' }],
};

export const countsByXDeath: Mutant = {
  name: 'counts-by-x-death',
  does: 'checks are counted by the broker’s x-death header instead of by the copy itself',
  breaks: 'the header begins anew with each publish, so that the last level never comes',
  foundBy: GAVE_UP,
  edits: [
    {
      file: CHECK,
      find: 'const prepared = parsePrepared(content);',
      replace: `const prepared = parsePrepared(content);
        if (prepared) prepared.checks = (delivery.message.properties.headers?.['x-death']?.[0]?.count ?? 1) - 1;`,
    },
  ],
};

export const noSweeper: Mutant = {
  name: 'no-sweeper',
  does: 'nothing looks at committed verdicts that were never marked as sent',
  breaks: 'a waiting queue that an operator deletes takes a committed message with it',
  foundBy: DELIVERED,
  edits: [
    {
      file: 'half-message/sweeper.js',
      find: 'this.database.onReady(() => this.loop.start());',
      replace: '',
    },
  ],
};

export const keyDeletedAfterAck: Mutant = {
  name: 'key-deleted-after-ack',
  does: 'the key in Redis is deleted after the ack, as the seed allows',
  breaks: 'a duplicate that comes after it is handled again',
  foundBy: 'times that the handler ran',
  edits: [
    {
      file: 'core/consumer/redis-dedup.js',
      find: 'delivery.ack();',
      replace: 'delivery.ack();\n        await this.claims.redis.del(key);',
    },
  ],
};
