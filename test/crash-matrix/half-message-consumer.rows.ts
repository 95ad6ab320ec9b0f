import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { Operator } from '../fixtures/operator.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import type { Stack } from '../fixtures/stack.js';
import { type AppName, sql } from '../fixtures/world.js';
import { type Case, few, type Mode, type Row } from './row.js';
import { tableAway } from './table-away.js';

const DEAD_OR_LATE = few('crash', 'pause, recover, continue');
const CONSUMER = { order: 'order.record-flash-sale', payment: 'payment.take-flash-money' } as const;

async function inboxAt(app: 'order' | 'payment', { shop, attempt }: Case): Promise<string[]> {
  const query = 'SELECT state FROM dtx_inbox WHERE gid = ? AND consumer = ?';
  const rows = await sql<{ state: string }>(shop.world, app, query, [attempt.orderId, CONSUMER[app]]);
  return rows.map(({ state }) => state);
}

/** A consumer's transaction, before and after its commit. No receipt: the broker has the message until the ack. */
function consumer(app: 'order' | 'payment', modes: readonly Mode[]): Row[] {
  return [
    {
      failpoint: 'half-message.inserted',
      app,
      modes,
      receives: true,
      transactionOpen: true,
      disk: async (at) => expect(await inboxAt(app, at)).toEqual([]),
    },
    {
      failpoint: 'half-message.handled',
      app,
      // The sale and its result come to the order app at one moment: paused here, it may be in the middle of the result's
      // transaction as well, and keep that very order locked until it dies. That is no matter of this point.
      modes: app === 'order' ? modes.filter((mode) => !mode.startsWith('pause')) : modes,
      receives: true,
      disk: async (at) => expect(await inboxAt(app, at)).toEqual(['HANDLED']),
    },
  ];
}

/** A message that nobody can read, straight into the queue. */
async function poison({ world }: Stack): Promise<string> {
  const messageId = `poison-${randomUUID()}`;
  const probe = await QueueProbe.open(world);
  await probe.publish('dtx.payment.take-flash-money.v1', '{"not json', {
    messageId,
    type: 'flash.sold.v1',
    correlationId: messageId,
    headers: { 'dtx-scheme': 'half-message' },
  });
  await probe.close();
  return messageId;
}

const isAt = async ({ world }: Stack, app: AppName, gid: string, state: string) =>
  (await sql<{ state: string }>(world, app, 'SELECT state FROM dtx_inbox WHERE gid = ?', [gid])).some(
    (row) => row.state === state,
  );

export const consumerRows: Row[] = [
  ...consumer('payment', few('crash', 'pause, recover, kill', 'pause, recover, continue', 'error')),
  ...consumer('order', DEAD_OR_LATE),
  {
    failpoint: 'half-message.held',
    app: 'payment',
    modes: DEAD_OR_LATE,
    receives: true,
    ...tableAway('payment', 'account'),
    passed: (shop, orderId) => isAt(shop, 'payment', orderId, 'RETRYING'),
    disk: async (at) => expect(await inboxAt('payment', at)).toEqual(['RETRYING']),
  },
  {
    failpoint: 'half-message.parked',
    app: 'payment',
    modes: DEAD_OR_LATE,
    receives: true,
    trigger: poison,
    passed: (shop, gid) => isAt(shop, 'payment', gid, 'PARKED'),
    disk: async (at) => expect(await inboxAt('payment', at)).toEqual(['PARKED']),
    healed: async ({ shop, attempt }) => {
      const operator = new Operator(shop, 'payment');
      const { id } = await operator.parkedOf(attempt.orderId);
      expect((await operator.alertsOf(id)).filter(({ closedAt }) => closedAt === null)).toHaveLength(1);
      expect((await operator.resolve(id, 'done')).status).toBe(200);
    },
  },
];
