import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { Operator } from '../fixtures/operator.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { sql } from '../fixtures/sandbox.js';
import type { Stack } from '../fixtures/three-apps.js';
import { type Case, few, type Mode, notYet, type Row } from './matrix-types.js';
import { tableAway } from './missing-table.js';

const DEAD_OR_LATE = few('crash', 'pause, recover, continue');
const CONSUMER = { order: 'order.record-flash-sale', payment: 'payment.take-flash-money' } as const;

async function inboxAt(app: 'order' | 'payment', { shop, attempt }: Case): Promise<string[]> {
  const query = 'SELECT state FROM dtx_inbox WHERE gid = ? AND consumer = ?';
  const rows = await sql<{ state: string }>(shop.sandbox, app, query, [attempt.orderId, CONSUMER[app]]);
  return rows.map(({ state }) => state);
}

/** A consumer's transaction, before and after its commit. It sends no receipt: the broker has the message until the ack. */
function consumer(app: 'order' | 'payment', modes: readonly Mode[]): Row[] {
  return [
    {
      failpoint: 'half-message.inserted',
      app,
      modes,
      recovered: notYet,
      disk: async (at) => expect(await inboxAt(app, at)).toEqual([]),
    },
    {
      failpoint: 'half-message.handled',
      app,
      // Not paused in the order app: it may also be inside the transaction of the sale's result, which arrives at the same
      // moment, and would lock the order until it dies.
      modes: app === 'order' ? modes.filter((mode) => !mode.startsWith('pause')) : modes,
      disk: async (at) => expect(await inboxAt(app, at)).toEqual(['HANDLED']),
    },
  ];
}

/** An unreadable message, straight into the queue. */
async function poison({ sandbox }: Stack): Promise<string> {
  const messageId = `poison-${randomUUID()}`;
  const probe = await QueueProbe.open(sandbox);
  await probe.publish('dtx.payment.take-flash-money.v1', '{"not json', {
    messageId,
    type: 'flash.sold.v1',
    correlationId: messageId,
    headers: { 'dtx-scheme': 'half-message' },
  });
  await probe.close();
  return messageId;
}

export const consumerRows: Row[] = [
  ...consumer('payment', few('crash', 'pause, recover, kill')),
  ...consumer('order', DEAD_OR_LATE),
  {
    failpoint: 'half-message.held',
    app: 'payment',
    modes: DEAD_OR_LATE,
    arrange: tableAway('payment', 'account'),
    disk: async (at) => expect(await inboxAt('payment', at)).toEqual(['RETRYING']),
  },
  {
    failpoint: 'half-message.parked',
    app: 'payment',
    modes: DEAD_OR_LATE,
    trigger: poison,
    disk: async (at) => expect(await inboxAt('payment', at)).toEqual(['PARKED']),
    recovered: notYet,
    proof: {
      async healed({ shop, attempt }) {
        const operator = new Operator(shop, 'payment');
        const { id } = await operator.parkedOf(attempt.orderId);
        expect((await operator.alertsOf(id)).filter(({ closedAt }) => closedAt === null)).toHaveLength(1);
        expect((await operator.resolve(id, 'done')).status).toBe(200);
      },
    },
  },
];
