import { expect } from 'vitest';
import { ADMIN_TOKEN } from '../fixtures/app-process.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { call, type Stack } from '../fixtures/stack.js';
import { until } from '../fixtures/until.js';
import { type AppName, sql, type World } from '../fixtures/world.js';
import { type Case, MODES, type Row } from './row.js';
import { tableAway } from './table-away.js';

interface MessageRow {
  state: string;
  attempts: number;
  due: number | null;
}

/** The message rows of a purchase at one app, by contract. */
async function messages(world: World, app: AppName, gid: string, contract: string): Promise<MessageRow[]> {
  return sql<MessageRow>(
    world,
    app,
    'SELECT state, attempts, next_attempt_at <= UTC_TIMESTAMP(3) AS due FROM dtx_outbox WHERE gid = ? AND contract = ?',
    [gid, contract],
  );
}

async function inbox(world: World, app: AppName, gid: string): Promise<Array<{ state: string }>> {
  return sql(world, app, 'SELECT state FROM dtx_inbox WHERE gid = ?', [gid]);
}

const contractOf = { order: 'order.placed', inventory: 'stock.taken', payment: 'payment.captured' } as const;
const before = { inventory: 'order', payment: 'inventory', order: 'payment' } as const;

const sent =
  (app: AppName) =>
  async ({ shop, attempt }: Case) => {
    const rows = await messages(shop.world, app, attempt.orderId, contractOf[app]);
    expect(rows).toHaveLength(1);
    return rows[0]!;
  };

/** A purchase's message row at its sender: committed but not published, or published and not marked. */
function sender(app: AppName): Row[] {
  const row = sent(app);
  return [
    {
      failpoint: 'local-message.committed',
      app,
      disk: async (at) => expect(await row(at)).toMatchObject({ state: 'PENDING', attempts: 0 }),
    },
    {
      failpoint: 'local-message.confirmed',
      app,
      // The receiver may be quicker than the disk is looked at; what matters is that no mark was made.
      disk: async (at) => {
        const { state, attempts } = await row(at);
        expect([state === 'PENDING' || state === 'DONE', attempts]).toEqual([true, 0]);
      },
    },
    {
      failpoint: 'local-message.marked',
      app,
      // Not paused in the order app: it may be in the middle of the transaction that confirms this very order as well,
      // and keep that locked until it dies. That is no matter of this point.
      modes: MODES.filter((mode) => mode.startsWith('pause') === (app === 'inventory')),
      // The receiver may be quicker than the disk is looked at; the mark itself must have been there.
      disk: async (at) => expect(['SENT', 'DONE']).toContain((await row(at)).state),
    },
  ];
}

/** A receiver's transaction, before and after its commit, and the receipt before the ack. */
function receiver(app: AppName): Row[] {
  const from = before[app];
  const upstream = async (at: Case) => (await sent(from)(at)).state;
  return [
    {
      failpoint: 'local-message.inserted',
      app,
      receives: true,
      transactionOpen: true,
      disk: async (at) => {
        expect(await inbox(at.shop.world, app, at.attempt.orderId)).toEqual([]);
        expect(await upstream(at)).not.toBe('DONE');
      },
    },
    {
      failpoint: 'local-message.handled',
      app,
      receives: true,
      // A delay of nothing leaves a line for every receipt of the victim's; that the sender has none does not last: the
      // broker takes the delivery from a silent victim, and the other instance receipts it as a duplicate.
      alsoArmed: 'local-message.receipted=delay(0)',
      disk: async (at) => {
        expect(await inbox(at.shop.world, app, at.attempt.orderId)).toEqual([{ state: 'HANDLED' }]);
        expect(at.victim.hits()).toEqual(['local-message.handled']);
      },
    },
    {
      failpoint: 'local-message.receipted',
      app,
      receives: true,
      disk: async (at) => {
        expect(await inbox(at.shop.world, app, at.attempt.orderId)).toEqual([{ state: 'HANDLED' }]);
        await until('the receipt arrives at the sender', async () => (await upstream(at)) === 'DONE', {
          withinMs: 15_000,
        });
      },
    },
  ];
}

/** A message that nobody can read, straight into the queue. */
async function poison(shop: Stack): Promise<string> {
  const messageId = `poison-${Date.now()}-${Math.random().toString(36).slice(2)}`;
  const properties = {
    messageId,
    type: 'order.placed.v1',
    correlationId: messageId,
    headers: { 'dtx-scheme': 'local-message' },
  };
  const probe = await QueueProbe.open(shop.world);
  await probe.publish('dtx.inventory.take-stock.v1', '{"not json', properties);
  await probe.close();
  return messageId;
}

/** The other instance got the delivery: its row is there, and stays so for a while. */
async function isAt(shop: Stack, gid: string, state: string): Promise<boolean> {
  return (await inbox(shop.world, 'inventory', gid)).some((row) => row.state === state);
}

async function parkedOnce({ shop, attempt }: Case): Promise<void> {
  const rows = await sql<{ id: string; state: string }>(
    shop.world,
    'inventory',
    'SELECT id, state FROM dtx_inbox WHERE gid = ?',
    [attempt.orderId],
  );
  expect(rows.map((row) => row.state)).toEqual(['PARKED']);
  const alerts = await sql(
    shop.world,
    'inventory',
    'SELECT id FROM dtx_alert WHERE subject_id = ? AND closed_at IS NULL',
    [rows[0]!.id],
  );
  expect(alerts).toHaveLength(1);
}

/** A person settles what is parked, so that the world is clean for the audit. */
async function settleByHand(at: Case): Promise<void> {
  await until('it is parked', () => parkedOnce(at).then(() => true));
  const url = `${at.shop.of('inventory').url}/dtx/transactions/${at.attempt.orderId}.inventory.take-stock/resolve`;
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${ADMIN_TOKEN}` };
  const answer = await call(url, {
    method: 'POST',
    headers,
    body: JSON.stringify({ outcome: 'done', note: 'poison of the crash matrix' }),
  });
  expect([200, 409]).toContain(answer.status);
}

export const senderRows: Row[] = [
  {
    failpoint: 'local-message.appended',
    app: 'order',
    transactionOpen: true,
    unknownYet: true,
    disk: async ({ shop, attempt }) => {
      const rows = await sql(shop.world, 'order', 'SELECT gid FROM dtx_idempotency WHERE idempotency_key = ?', [
        attempt.key,
      ]);
      expect(rows).toEqual([]);
    },
  },
  ...sender('order'),
  {
    failpoint: 'local-message.claimed',
    app: 'order',
    // So often that it meets the point, and no more: where it lives on, it must let the message go in the end.
    alsoArmed: 'local-message.confirmed=6*error',
    // The victim looks more often than the others, so that its scan is the one that finds the lease run out.
    options: { core: { scanIntervalMs: 10 } },
    disk: async (at) => expect(await sent('order')(at)).toMatchObject({ state: 'PENDING', attempts: 0 }),
  },
  {
    failpoint: 'local-message.done',
    // Not the order app: stopped a moment later it could be holding the transaction that confirms this very order.
    app: 'inventory',
    disk: async (at) => expect(await sent('inventory')(at)).toMatchObject({ state: 'DONE', due: null }),
  },
  ...sender('inventory'),
  ...sender('payment').slice(0, 2),
];

export const receiverRows: Row[] = [
  ...receiver('inventory'),
  ...receiver('payment'),
  ...receiver('order'),
  {
    failpoint: 'local-message.held',
    app: 'inventory',
    ...tableAway('inventory', 'stock'),
    passed: (shop, orderId) => isAt(shop, orderId, 'RETRYING'),
    disk: async ({ shop, attempt }) =>
      expect(await inbox(shop.world, 'inventory', attempt.orderId)).toEqual([{ state: 'RETRYING' }]),
  },
  {
    failpoint: 'local-message.parked',
    app: 'inventory',
    trigger: poison,
    passed: (shop, messageId) => isAt(shop, messageId, 'PARKED'),
    disk: parkedOnce,
    healed: settleByHand,
  },
];
