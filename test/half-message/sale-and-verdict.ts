import { expect } from 'vitest';
import type { AppProcess } from '../fixtures/app-process.js';
import { type Sandbox, sql } from '../fixtures/sandbox.js';
import { type Answer, call } from '../fixtures/three-apps.js';

export const BOOK = { buyerId: 'alice', sku: 'book', quantity: 1 };

/** A flash sale at one instance of the inventory app. */
export function sell(instance: AppProcess, key: string, body: object = BOOK): Promise<Answer> {
  return call(`${instance.url}/flash-sales`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': key },
    body: JSON.stringify(body),
  });
}

/** One that is accepted; its order's id. */
export async function sold(instance: AppProcess, key: string, body: object = BOOK): Promise<string> {
  const { status, body: purchase } = await sell(instance, key, body);
  expect([status, purchase]).toMatchObject([202, { status: 'PENDING', scheme: 'half-message' }]);
  return String(purchase.orderId);
}

export interface VerdictRow {
  id: string;
  gid: string;
  state: string;
}

/** The verdicts of one purchase, or of all, in the order of their messages. */
export function verdicts(sandbox: Sandbox, gid?: string): Promise<VerdictRow[]> {
  const where = gid === undefined ? '' : 'WHERE gid = ?';
  return sql<VerdictRow>(sandbox, 'inventory', `SELECT id, gid, state FROM dtx_half ${where} ORDER BY id`, [gid]);
}

/** With or without the receipts of its consumers. */
export const isSent = ({ state }: { state: string }): boolean => state === 'SENT' || state === 'DONE';

/** What inventory has done to the stock of an order: its state and how often. */
export function takes(sandbox: Sandbox, orderId: string): Promise<Array<{ state: string; times: number }>> {
  return sql(sandbox, 'inventory', 'SELECT state, times FROM stock_take WHERE order_id = ?', [orderId]);
}
