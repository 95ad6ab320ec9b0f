import { expect } from 'vitest';
import { Operator } from '../fixtures/operator.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { type AppName, type Sandbox, sql } from '../fixtures/sandbox.js';
import type { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { idOfKey } from './case-calls.js';
import { type Case, MODES, notYet, type Row } from './matrix-types.js';
import { tableAway } from './missing-table.js';

interface MessageRow {
  state: string;
  attempts: number;
  due: number | null;
}

/** The message rows of a purchase at one app, by contract. */
async function messages(sandbox: Sandbox, app: AppName, gid: string, contract: string): Promise<MessageRow[]> {
  return sql<MessageRow>(
    sandbox,
    app,
    'SELECT state, attempts, next_attempt_at <= UTC_TIMESTAMP(3) AS due FROM dtx_outbox WHERE gid = ? AND contract = ?',
    [gid, contract],
  );
}

async function inbox(sandbox: Sandbox, app: AppName, gid: string): Promise<Array<{ state: string }>> {
  return sql(sandbox, app, 'SELECT state FROM dtx_inbox WHERE gid = ?', [gid]);
}

const contractOf = { order: 'order.placed', inventory: 'stock.taken', payment: 'payment.captured' } as const;
const before = { inventory: 'order', payment: 'inventory', order: 'payment' } as const;

const sent =
  (app: AppName) =>
  async ({ shop, attempt }: Case) => {
    const rows = await messages(shop.sandbox, app, attempt.orderId, contractOf[app]);
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
      // The receiver may be quicker than the look at the disk. No mark was made: `attempts` is 0 and the state not SENT.
      disk: async (at) => {
        const { state, attempts } = await row(at);
        expect([state === 'PENDING' || state === 'DONE', attempts]).toEqual([true, 0]);
      },
    },
    {
      failpoint: 'local-message.marked',
      app,
      // Not paused in the order app: it may also be inside the transaction that confirms this order, and would lock the
      // order until it dies.
      modes: MODES.filter((mode) => mode.startsWith('pause') === (app === 'inventory')),
      // The receiver may be quicker than the look at the disk: DONE includes the mark.
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
      recovered: notYet,
      disk: async (at) => {
        expect(await inbox(at.shop.sandbox, app, at.attempt.orderId)).toEqual([]);
        expect(await upstream(at)).not.toBe('DONE');
      },
    },
    {
      failpoint: 'local-message.handled',
      app,
      // `delay(0)` logs a hit for every receipt of the victim.
      alsoArmed: 'local-message.receipted=delay(0)',
      disk: async (at) => {
        expect(await inbox(at.shop.sandbox, app, at.attempt.orderId)).toEqual([{ state: 'HANDLED' }]);
        expect(at.victim.hits()).toEqual(['local-message.handled']);
      },
    },
    {
      failpoint: 'local-message.receipted',
      app,
      disk: async (at) => {
        expect(await inbox(at.shop.sandbox, app, at.attempt.orderId)).toEqual([{ state: 'HANDLED' }]);
        await until('the receipt arrives at the sender', async () => (await upstream(at)) === 'DONE', {
          withinMs: 15_000,
        });
      },
    },
  ];
}

/** An unreadable message, straight into the queue. */
async function poison(shop: Stack): Promise<string> {
  const messageId = `poison-${Date.now()}-${Math.random().toString(36).slice(2)}`;
  const properties = {
    messageId,
    type: 'order.placed.v1',
    correlationId: messageId,
    headers: { 'dtx-scheme': 'local-message' },
  };
  const probe = await QueueProbe.open(shop.sandbox);
  await probe.publish('dtx.inventory.take-stock.v1', '{"not json', properties);
  await probe.close();
  return messageId;
}

async function parkedOnce({ shop, attempt }: Case): Promise<void> {
  const rows = await sql<{ id: string; state: string }>(
    shop.sandbox,
    'inventory',
    'SELECT id, state FROM dtx_inbox WHERE gid = ?',
    [attempt.orderId],
  );
  expect(rows.map((row) => row.state)).toEqual(['PARKED']);
  const alerts = await sql(
    shop.sandbox,
    'inventory',
    'SELECT id FROM dtx_alert WHERE subject_id = ? AND closed_at IS NULL',
    [rows[0]!.id],
  );
  expect(alerts).toHaveLength(1);
}

/** A person resolves the parked message, so that the sandbox is clean for the audit. */
async function settleByHand(at: Case): Promise<void> {
  await until('the message is parked', () => parkedOnce(at).then(() => true));
  const operator = new Operator(at.shop, 'inventory');
  const answer = await operator.resolve(`${at.attempt.orderId}.inventory.take-stock`, 'done');
  expect([200, 409]).toContain(answer.status);
}

export const senderRows: Row[] = [
  {
    failpoint: 'local-message.appended',
    app: 'order',
    disk: async (at) => expect(await idOfKey(at)).toBe(''),
    recovered: notYet,
  },
  ...sender('order'),
  {
    failpoint: 'local-message.claimed',
    app: 'order',
    // The fast path fails before it has published, so the victim's scan claims the row.
    alsoArmed: 'local-message.confirmed=1*error',
    disk: async (at) => expect(await sent('order')(at)).toMatchObject({ state: 'PENDING', attempts: 0 }),
  },
  {
    failpoint: 'local-message.done',
    // Not the order app: it may also be inside the transaction that confirms this order, and would lock it.
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
    arrange: tableAway('inventory', 'stock'),
    disk: async ({ shop, attempt }) =>
      expect(await inbox(shop.sandbox, 'inventory', attempt.orderId)).toEqual([{ state: 'RETRYING' }]),
  },
  {
    failpoint: 'local-message.parked',
    app: 'inventory',
    trigger: poison,
    disk: parkedOnce,
    recovered: notYet,
    proof: { healed: settleByHand },
  },
];
