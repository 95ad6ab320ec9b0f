import { SHORT_TIMES } from '../crash-matrix/short-times.js';
import type { AppProcess } from '../fixtures/app-process.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { type Sandbox, sql } from '../fixtures/sandbox.js';
import { type Answer, call } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

export const TAKE_STOCK = 'dtx.inventory.take-stock.v1';
export const ORDER_RECEIPTS = 'dtx.order.receipts.v1';

/**
 * No resend within the test, so a message that arrives was not lost. Plays wait for the lease to end. It is long enough
 * that a busy machine marks each message before that: otherwise the scan would send healthy messages again.
 */
export const NO_RESEND = {
  core: { ...SHORT_TIMES.core, leaseMs: 8_000 },
  localMessage: { markDelayMs: 1, resend: { firstMs: 600_000, factor: 1, capMs: 600_000 } },
};

/** The row of an order's first message at its sender. */
export interface MessageRow {
  readonly id: string;
  readonly gid: string;
  readonly state: string;
}

/** Asks one instance for a purchase. The key finds it if the answer is lost. */
export async function place(instance: AppProcess, key: string): Promise<Answer> {
  return call(`${instance.url}/orders`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': key },
    body: JSON.stringify({ buyerId: 'alice', sku: 'book', quantity: 1 }),
  });
}

/** A purchase that is answered, as it is expected to be. */
export async function placed(instance: AppProcess, key: string): Promise<string> {
  const { status, body } = await place(instance, key);
  if (status !== 202) throw new Error(`expected 202, got ${status}: ${JSON.stringify(body)}`);
  return String(body.orderId);
}

/** Delivers a purchase's first message as the order app sends it: the same id again is a duplicate. */
export async function deliverOrderPlaced(sandbox: Sandbox, messageId: string, orderId: string): Promise<void> {
  const purchase = { orderId, scheme: 'local-message', buyerId: 'alice', sku: 'book', quantity: 1, amount: 1_999 };
  const properties = {
    messageId,
    type: 'order.placed.v1',
    correlationId: orderId,
    replyTo: ORDER_RECEIPTS,
    headers: { 'dtx-scheme': 'local-message' },
  };
  const probe = await QueueProbe.open(sandbox);
  await probe.publish(TAKE_STOCK, JSON.stringify(purchase), properties);
  await probe.close();
}

export function messageRows(sandbox: Sandbox, orderId: string): Promise<MessageRow[]> {
  return sql<MessageRow>(
    sandbox,
    'order',
    `SELECT id, gid, state FROM dtx_outbox WHERE gid = ? AND contract = 'order.placed'`,
    [orderId],
  );
}

/** Waits until the sender's row has this state. */
export function untilMessage(sandbox: Sandbox, orderId: string, state: 'SENT' | 'DONE'): Promise<unknown> {
  return until(`the message of ${orderId} is ${state}`, async () =>
    (await messageRows(sandbox, orderId)).some((row) => row.state === state),
  );
}

/** How often the stock of an order was taken; empty when it never was. */
export async function timesTaken(sandbox: Sandbox, orderId: string): Promise<number[]> {
  const rows = await sql<{ times: number }>(sandbox, 'inventory', 'SELECT times FROM stock_take WHERE order_id = ?', [
    orderId,
  ]);
  return rows.map((row) => row.times);
}
