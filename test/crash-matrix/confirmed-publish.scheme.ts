import { Redis } from 'ioredis';
import { expect } from 'vitest';
import { type Sandbox, sql } from '../fixtures/sandbox.js';
import type { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { repeat } from './case-calls.js';
import type { Scheme } from './matrix-types.js';

const RESTOCK = { sku: 'mug', quantity: 1 };

interface Level {
  available: number;
  version: number;
}

const levelIn = async (sandbox: Sandbox, app: 'order' | 'inventory', table: string): Promise<Level | undefined> => {
  const query = `SELECT available, version FROM ${table} WHERE sku = ?`;
  return (await sql<Level>(sandbox, app, query, [RESTOCK.sku]))[0];
};

export const stockOf = (sandbox: Sandbox) => levelIn(sandbox, 'inventory', 'stock');
export const hintOf = (sandbox: Sandbox) => levelIn(sandbox, 'order', 'stock_hint');

/** The catalog shows the stock. */
export async function isShown(sandbox: Sandbox): Promise<boolean> {
  const [stock, hint] = [await stockOf(sandbox), await hintOf(sandbox)];
  return stock !== undefined && stock.version === hint?.version && stock.available === hint.available;
}

/** The state of the messages in Redis: `processing:...` or `done`. */
export async function claims({ sandbox }: Stack): Promise<string[]> {
  const redis = new Redis(sandbox.redis);
  try {
    const keys = await redis.keys('dtx:order.restock-hint:*');
    const values = await Promise.all(keys.map((key) => redis.get(key)));
    return values.map((value) => value!.replace(/:.*/, ''));
  } finally {
    redis.disconnect();
  }
}

/** Each key restocks once, and the hint is right in the end, even if it was wrong meanwhile. */
export const reliableMessages: Scheme = {
  app: 'inventory',
  path: '/restocks',
  wanted: RESTOCK,

  async healed(at) {
    const { shop } = at;
    await until('the same key is answered with 201', async () => (await repeat(at)).status === 201);
    const query = `SELECT COUNT(*) AS n FROM dtx_idempotency WHERE route = 'POST /restocks'`;
    const [{ n: keys } = { n: 0 }] = await sql<{ n: number }>(shop.sandbox, 'inventory', query);
    expect(await stockOf(shop.sandbox)).toMatchObject({ available: keys, version: keys });
    await until('the hint is right', () => isShown(shop.sandbox));
  },

  async exactlyOnce({ shop }) {
    expect(await isShown(shop.sandbox)).toBe(true);
    // Otherwise the victim of the next case would be given the message that another instance waits for.
    await until('no message is in work', async () => (await claims(shop)).every((state) => state === 'done'));
  },
};
