// A row that is falsified for the audit at the end of a run. An audit that does not report it could not have found anything.
import { audit } from '../../audit/index.js';
import type { Sandbox } from '../../sandbox/sandbox.js';
import type { DatabaseServer } from './breakable-database-servers.js';

/** No client buys it. It is opened without pieces. */
export const SCRATCH_SKU = 'item-1000';

/** For a while one piece is sold that no order has. */
export async function isCanaryFound(sandbox: Sandbox, inventory: DatabaseServer): Promise<boolean> {
  const add = (pieces: number) =>
    inventory.run(`UPDATE ${inventory.table} SET sold = sold + ? WHERE sku = ?`, [pieces, SCRATCH_SKU]);
  if ((await add(1)) !== 1) throw new Error(`the run has no stock row of ${SCRATCH_SKU}`);
  try {
    const { checks } = await audit(sandbox, { settleMs: 1_000, brokerLagMs: 0 });
    const stock = checks.find(({ name }) => name === 'stock');
    return stock?.violations.some((line) => line.startsWith(SCRATCH_SKU)) ?? false;
  } finally {
    await add(-1);
  }
}
