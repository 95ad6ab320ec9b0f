import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { newId } from '../../libs/dtx/src/core/ids.js';
import { Operator } from '../fixtures/operator.js';
import { TestPublisher } from '../fixtures/outbox-message-copies.js';
import { sql } from '../fixtures/sandbox.js';
import type { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { takes, verdicts } from '../half-message/sale-and-verdict.js';
import { idOfKey, repeat } from './case-calls.js';
import { halfMessages } from './half-message.scheme.js';
import { type Case, few, notYet, type Proof, type Row } from './matrix-types.js';

const verdictOf = async ({ shop, attempt }: Case) => (await verdicts(shop.sandbox, attempt.orderId))[0]?.state;

/** The verdict on the newest message, of a purchase whose id is not committed yet. */
const newestVerdict = async ({ sandbox }: Stack) => (await verdicts(sandbox)).at(-1)?.state;

/** The call's key is committed together with the stock. Without a key, no part of the sale is committed. */
async function noKeyYet(at: Case): Promise<void> {
  expect(await idOfKey(at)).toBe('');
}

/** A prepared message whose producer died right after it, delivered to its check. */
async function orphanedCopy(shop: Stack): Promise<string> {
  const gid = randomUUID();
  const purchase = { orderId: gid, scheme: 'half-message', buyerId: 'alice', sku: 'book', quantity: 1, amount: 1_999 };
  const consumers = 'order.record-flash-sale,payment.take-flash-money';
  const of = { gid, contract: 'flash.sold', version: 1, consumers, traceparent: null };
  const message = { id: newId(), ...of, payload: JSON.stringify(purchase) };
  const publisher = await TestPublisher.open(shop.sandbox);
  await publisher.send('dtx.inventory.half-check.v1', Buffer.from(JSON.stringify({ checks: 0, message })), {});
  await publisher.close();
  return gid;
}

async function wasRolledBack({ shop, attempt }: Case): Promise<void> {
  await until(
    'the message is ruled back',
    async () => (await verdicts(shop.sandbox, attempt.orderId))[0]?.state === 'ROLLED_BACK',
  );
  expect(await takes(shop.sandbox, attempt.orderId)).toEqual([]);
}

const TOO_MANY = { buyerId: 'alice', sku: 'phone', quantity: 1 };

/** The same key is refused as well, and no message was sent. */
async function isRefused(at: Case): Promise<void> {
  const { shop, attempt } = at;
  const answer = await until('the same key is refused', async () => {
    const given = await repeat(at);
    return given.body.orderStatus === 'CANCELLED' && given;
  });
  attempt.orderId = String(answer.body.orderId);
  await wasRolledBack(at);
  expect((await shop.get('order', `/orders/${attempt.orderId}`)).status).toBe(404);
}

/** The one parked copy, which has one alert. */
async function parkedCopy({ shop: { sandbox } }: Case): Promise<string> {
  const parked = await sql<{ id: string }>(
    sandbox,
    'inventory',
    `SELECT id FROM dtx_half_parked WHERE state = 'PARKED'`,
  );
  expect(parked).toHaveLength(1);
  const open = 'SELECT id FROM dtx_alert WHERE subject_id = ? AND closed_at IS NULL';
  expect(await sql(sandbox, 'inventory', open, [parked[0]!.id])).toHaveLength(1);
  return parked[0]!.id;
}

/** A person resolves the parked copy. The caller's key is served, even if its open transaction was rolled back. */
const settledByHand: Proof = {
  exactlyOnce: halfMessages.exactlyOnce,
  async healed(at) {
    const id = await until('the copy is parked', () => parkedCopy(at));
    expect((await new Operator(at.shop, 'inventory').resolve(id, 'done')).status).toBe(200);
    await halfMessages.healed(at);
  },
};

export const producerRows: Row[] = [
  {
    failpoint: 'half-message.prepared',
    app: 'inventory',
    disk: async (at) => {
      await noKeyYet(at);
      expect(await newestVerdict(at.shop)).not.toBe('ROLLED_BACK');
    },
    // The local transaction has not begun, so the check of the warm instance rules.
    recovered: ({ shop }) =>
      until('the message is ruled back', async () => (await newestVerdict(shop)) === 'ROLLED_BACK'),
  },
  {
    failpoint: 'half-message.opened',
    app: 'inventory',
    disk: noKeyYet,
    recovered: notYet,
  },
  {
    failpoint: 'half-message.committed',
    app: 'inventory',
    disk: async (at) => expect(await verdictOf(at)).toBe('COMMITTED'),
  },
  {
    failpoint: 'half-message.confirmed',
    app: 'inventory',
    modes: few('crash'),
    disk: async (at) => expect(['COMMITTED', 'SENT', 'DONE']).toContain(await verdictOf(at)),
  },
  {
    failpoint: 'half-message.marked',
    app: 'inventory',
    modes: few('crash', 'error'),
    disk: async (at) => expect(['SENT', 'DONE']).toContain(await verdictOf(at)),
  },
  {
    failpoint: 'half-message.rolled-back',
    app: 'inventory',
    wanted: TOO_MANY,
    modes: few('crash', 'error'),
    disk: async ({ shop }) => expect(await newestVerdict(shop)).toBe('ROLLED_BACK'),
    recovered: notYet,
    proof: { healed: isRefused },
  },
  {
    failpoint: 'half-message.ruled',
    app: 'inventory',
    modes: few('crash', 'pause, recover, kill', 'error'),
    trigger: orphanedCopy,
    disk: async (at) => expect(await verdictOf(at)).toBe('ROLLED_BACK'),
    recovered: notYet,
    proof: { healed: wasRolledBack },
  },
  {
    failpoint: 'half-message.checked',
    app: 'inventory',
    modes: few('crash'),
    alsoArmed: 'half-message.confirmed=error;half-message.done=error',
    disk: async (at) => expect(['COMMITTED', 'SENT', 'DONE']).toContain(await verdictOf(at)),
  },
  {
    failpoint: 'half-message.postponed',
    app: 'inventory',
    modes: few('crash'),
    alsoArmed: 'half-message.opened=delay(1800)',
    disk: noKeyYet,
    recovered: notYet,
  },
  {
    failpoint: 'half-message.exhausted',
    app: 'inventory',
    modes: few('crash', 'pause, recover, continue'),
    alsoArmed: 'half-message.opened=delay(1800)',
    // The first check is the last one.
    options: { halfMessage: { levelsMs: [1_000] } },
    disk: async (at) => {
      await noKeyYet(at);
      await parkedCopy(at);
    },
    recovered: notYet,
    proof: settledByHand,
  },
  {
    failpoint: 'half-message.done',
    app: 'inventory',
    // The receipts of the two consumers may come together or one by one, also before the mark SENT is stored.
    disk: async ({ shop: { sandbox }, attempt: { orderId } }) => {
      const query = 'SELECT state, awaiting FROM dtx_half WHERE gid = ?';
      const [verdict] = await sql<{ state: string; awaiting: string }>(sandbox, 'inventory', query, [orderId]);
      expect(`${verdict?.state}${verdict?.awaiting}`).toMatch(
        /^(DONE,|(COMMITTED|SENT),(order\.record-flash-sale|payment\.take-flash-money),)$/,
      );
    },
  },
  {
    failpoint: 'half-message.swept',
    app: 'inventory',
    modes: few('crash'),
    alsoArmed: 'half-message.confirmed=error',
    // The sweeper comes before the check.
    options: { halfMessage: { sweepAfterMs: 100, levelsMs: [5_000, 1_500, 2_000] } },
    disk: async (at) => expect(['COMMITTED', 'SENT', 'DONE']).toContain(await verdictOf(at)),
  },
];
