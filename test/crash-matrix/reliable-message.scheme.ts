import { expect } from 'vitest';
import { until } from '../fixtures/until.js';
import { sql, type World } from '../fixtures/world.js';
import type { Scheme } from './row.js';
import { post } from './run-case.js';

export const RESTOCK = { sku: 'mug', quantity: 1 };

interface Level {
  available: number;
  version: number;
}

const levelIn = async (world: World, app: 'order' | 'inventory', table: string): Promise<Level | undefined> => {
  const query = `SELECT available, version FROM ${table} WHERE sku = ?`;
  return (await sql<Level>(world, app, query, [RESTOCK.sku]))[0];
};

export const stockOf = (world: World) => levelIn(world, 'inventory', 'stock');
export const hintOf = (world: World) => levelIn(world, 'order', 'stock_hint');

/** The catalog shows what is on the shelf. */
export async function isTold(world: World): Promise<boolean> {
  const [stock, hint] = [await stockOf(world), await hintOf(world)];
  return stock !== undefined && stock.version === hint?.version && stock.available === hint.available;
}

/** Each key restocks once, and the hint is right in the end, whatever it was on the way. */
export const reliableMessages: Scheme = {
  app: 'inventory',
  path: '/restocks',

  passed: ({ world }) => isTold(world),

  async healed({ shop, attempt }) {
    await until('the same key is served', async () => {
      const given = await post(shop.of('inventory').url, reliableMessages, { key: attempt.key, wanted: RESTOCK });
      return given.status === 201;
    });
    const query = `SELECT COUNT(*) AS n FROM dtx_idempotency WHERE route = 'POST /restocks'`;
    const [{ n: keys } = { n: 0 }] = await sql<{ n: number }>(shop.world, 'inventory', query);
    expect(await stockOf(shop.world)).toMatchObject({ available: keys, version: keys });
    await until('the hint is right', () => isTold(shop.world));
  },

  async exactlyOnce({ shop }) {
    expect(await isTold(shop.world)).toBe(true);
  },
};
