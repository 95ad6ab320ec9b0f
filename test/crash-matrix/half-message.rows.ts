import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { newId } from '../../libs/dtx/src/core/ids.js';
import { TestPublisher } from '../fixtures/messages.js';
import { Operator } from '../fixtures/operator.js';
import type { Stack } from '../fixtures/stack.js';
import { until } from '../fixtures/until.js';
import { sql } from '../fixtures/world.js';
import { takes, verdicts } from '../half-message/sales.js';
import { halfMessages } from './half-message.scheme.js';
import { type Case, few, type Row } from './row.js';
import { post } from './run-case.js';

const verdictOf = async ({ shop, attempt }: Case) => (await verdicts(shop.world, attempt.orderId))[0]?.state;

/** The call's key is committed with the stock: without it, nothing of the sale is. */
async function noKeyYet({ shop, attempt }: Case): Promise<void> {
  const query = 'SELECT gid FROM dtx_idempotency WHERE idempotency_key = ?';
  expect(await sql(shop.world, 'inventory', query, [attempt.key])).toEqual([]);
}

/** Remembers the verdicts of now, so that what the others rule meanwhile is told apart. */
function rulings() {
  let before = new Set<string>();
  return {
    remember: async (shop: Stack) => {
      before = new Set((await verdicts(shop.world)).map(({ id }) => id));
      return async () => {};
    },
    untilRuled: ({ shop }: Case) =>
      until('the check of another instance rules', async () =>
        (await verdicts(shop.world)).some(({ id, state }) => !before.has(id) && state === 'ROLLED_BACK'),
      ),
  };
}

const afterPrepare = rulings();

/** A copy whose producer died right after it was prepared, come to its check. */
async function orphanedCopy(shop: Stack): Promise<string> {
  const gid = randomUUID();
  const purchase = { orderId: gid, scheme: 'half-message', buyerId: 'alice', sku: 'book', quantity: 1, amount: 1_999 };
  const consumers = 'order.record-flash-sale,payment.take-flash-money';
  const of = { gid, contract: 'flash.sold', version: 1, consumers, traceparent: null };
  const message = { id: newId(), ...of, payload: JSON.stringify(purchase) };
  const publisher = await TestPublisher.open(shop.world);
  await publisher.send('dtx.inventory.half-check.v1', Buffer.from(JSON.stringify({ checks: 0, message })), {});
  await publisher.close();
  return gid;
}

async function wasRolledBack({ shop, attempt }: Case): Promise<void> {
  await until('it is ruled', async () => (await verdicts(shop.world, attempt.orderId))[0]?.state === 'ROLLED_BACK');
  expect(await takes(shop.world, attempt.orderId)).toEqual([]);
}

/**
 * The broker takes turns between two instances, and such a sale is two checks: one instance would get every first and
 * the other every second. One thing more, which is no copy and is dropped, swaps them.
 */
async function swapTurns({ world }: Stack): Promise<void> {
  const publisher = await TestPublisher.open(world);
  await publisher.send('dtx.inventory.half-check.v1', Buffer.from('no copy'), {});
  await publisher.close();
}

const TOO_MANY = { buyerId: 'alice', sku: 'phone', quantity: 1 };

/** Refused with the same key as well, and nobody has heard of it. */
async function isRefused(at: Case): Promise<void> {
  const { shop, attempt } = at;
  const answer = await until('the same key is told', async () => {
    const given = await post(shop.of('inventory').url, halfMessages, { key: attempt.key, wanted: TOO_MANY });
    return given.body.orderStatus === 'CANCELLED' && given;
  });
  attempt.orderId = String(answer.body.orderId);
  await wasRolledBack(at);
  expect((await shop.get('order', `/orders/${attempt.orderId}`)).status).toBe(404);
}

const parkedCopies = ({ shop }: Case) =>
  sql<{ id: string; gid: string }>(
    shop.world,
    'inventory',
    `SELECT id, gid FROM dtx_half_parked WHERE state = 'PARKED'`,
  );

async function parkedOnce(at: Case): Promise<void> {
  const [copy, ...more] = await parkedCopies(at);
  expect(more).toEqual([]);
  const alerts = await new Operator(at.shop, 'inventory').alertsOf(copy!.id);
  expect(alerts.filter(({ closedAt }) => closedAt === null)).toHaveLength(1);
}

/** Whatever became of the transaction that was open, a person settles its copy, and the caller gets what it wanted. */
async function settledByHand(at: Case): Promise<void> {
  if (at.attempt === at.met) {
    await until('it is parked', () => parkedOnce(at).then(() => true));
    const [copy] = await parkedCopies(at);
    expect((await new Operator(at.shop, 'inventory').resolve(copy!.id, 'done')).status).toBe(200);
  }
  await halfMessages.healed(at, {} as Row);
  await halfMessages.exactlyOnce(at, {} as Row);
}

export const producerRows: Row[] = [
  {
    failpoint: 'half-message.prepared',
    app: 'inventory',
    unknownYet: true,
    transactionOpen: true, // it is not even begun: nobody can finish it, but the check ends it
    arrange: afterPrepare.remember,
    disk: async (at) => {
      await noKeyYet(at);
      await afterPrepare.untilRuled(at);
    },
  },
  {
    failpoint: 'half-message.opened',
    app: 'inventory',
    unknownYet: true,
    transactionOpen: true,
    disk: noKeyYet,
  },
  {
    failpoint: 'half-message.committed',
    app: 'inventory',
    // The check of another instance comes when the disk has been looked at, on a busy machine too.
    options: { halfMessage: { levelsMs: [5_000, 1_500, 2_000] } },
    disk: async (at) => expect(await verdictOf(at)).toBe('COMMITTED'),
  },
  {
    failpoint: 'half-message.confirmed',
    app: 'inventory',
    modes: few('crash', 'pause, recover, continue', 'error'),
    // The check of another instance may be quicker than the look at the disk.
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
    unknownYet: true,
    modes: few('crash', 'error'),
    disk: async () => {},
    healed: isRefused,
  },
  {
    failpoint: 'half-message.ruled',
    app: 'inventory',
    modes: few('crash', 'pause, recover, kill', 'error'),
    trigger: orphanedCopy,
    passed: async ({ world }, gid) => (await verdicts(world, gid)).length > 0,
    disk: async (at) => expect(await verdictOf(at)).toBe('ROLLED_BACK'),
    healed: wasRolledBack,
  },
  {
    failpoint: 'half-message.checked',
    app: 'inventory',
    modes: few('crash', 'pause, recover, continue', 'error'),
    alsoArmed: 'half-message.confirmed=error;half-message.done=error',
    disk: async (at) => expect(['COMMITTED', 'SENT', 'DONE']).toContain(await verdictOf(at)),
  },
  {
    failpoint: 'half-message.postponed',
    app: 'inventory',
    modes: few('crash', 'pause, recover, continue', 'error'),
    alsoArmed: 'half-message.opened=delay(1800)',
    beforeNext: swapTurns,
    unknownYet: true,
    transactionOpen: true,
    disk: noKeyYet,
  },
  {
    failpoint: 'half-message.exhausted',
    app: 'inventory',
    modes: few('crash', 'pause, recover, continue'),
    alsoArmed: 'half-message.opened=delay(1800)',
    beforeNext: swapTurns,
    // Its first check is its last.
    options: { halfMessage: { levelsMs: [1_000] } },
    unknownYet: true,
    disk: async (at) => {
      await noKeyYet(at);
      await parkedOnce(at);
    },
    healed: settledByHand,
  },
  {
    failpoint: 'half-message.done',
    app: 'inventory',
    disk: async (at) => expect(await verdictOf(at)).toBe('DONE'),
  },
  {
    failpoint: 'half-message.swept',
    app: 'inventory',
    modes: few('crash', 'pause, recover, continue', 'error'),
    alsoArmed: 'half-message.confirmed=error',
    // The sweeper comes before the check, and the victim's before the others'.
    options: { core: { scanIntervalMs: 10 }, halfMessage: { sweepAfterMs: 100 } },
    disk: async (at) => expect(['COMMITTED', 'SENT', 'DONE']).toContain(await verdictOf(at)),
  },
];
