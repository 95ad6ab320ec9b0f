// A wrong row that is planted for the audit at the end of a run. An audit that does not report it could not have found anything.
import { audit } from '../../audit/index.js';
import type { Sandbox } from '../../sandbox/sandbox.js';
import type { DatabaseServer } from './breakable-database-servers.js';

/** No client buys it. */
const SCRATCH_SKU = 'item-1000';

/** One piece is sold that no order has. The row is gone afterwards. */
export async function isCanaryFound(sandbox: Sandbox, inventory: DatabaseServer): Promise<boolean> {
  const { table } = inventory;
  const insert = `INSERT INTO ${table} (sku, available, reserved, sold, opening, version) VALUES (?, 0, 0, 1, 1, 1)`;
  await inventory.run(insert, [SCRATCH_SKU]);
  try {
    const { checks } = await audit(sandbox, { settleMs: 1_000, brokerLagMs: 0 });
    const stock = checks.find(({ name }) => name === 'stock');
    return stock?.violations.some((line) => line.startsWith(SCRATCH_SKU)) ?? false;
  } finally {
    await inventory.run(`DELETE FROM ${table} WHERE sku = ?`, [SCRATCH_SKU]);
  }
}
