/** Checkouts of a shop and their transactions, by Idempotency-Key, and an app that is down meanwhile. */
import { type AppName, type Sandbox, sql } from '../fixtures/sandbox.js';
import { type Answer, call, type Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const BOOK = { buyerId: 'alice', sku: 'book', quantity: 1 };

export function checkOut(url: string, key: string, body = BOOK): Promise<Answer> {
  const headers = { 'content-type': 'application/json', 'idempotency-key': key };
  return call(`${url}/checkouts`, { method: 'POST', headers, body: JSON.stringify(body) });
}

interface TransactionRow {
  id: string;
  state: string;
  attempts: number;
  last_error: string | null;
}

export async function transactionOf(sandbox: Sandbox, key: string): Promise<TransactionRow> {
  const query = `SELECT t.id, t.state, t.attempts, t.last_error FROM dtx_tcc t
    JOIN dtx_idempotency k ON k.gid = t.id WHERE k.idempotency_key = ?`;
  return (await sql<TransactionRow>(sandbox, 'payment', query, [key]))[0]!;
}

export const untilState = (sandbox: Sandbox, key: string, state: string) =>
  until(`the transaction of ${key} is ${state}`, async () => (await transactionOf(sandbox, key))?.state === state, {
    withinMs: 40_000,
  });

/** Kills every instance of an app. The result starts one again. */
export async function down(shop: Stack, app: AppName): Promise<() => Promise<unknown>> {
  await Promise.all(shop.instances.filter((one) => one.app === app).map((one) => one.kill()));
  return () => shop.start([app]);
}
