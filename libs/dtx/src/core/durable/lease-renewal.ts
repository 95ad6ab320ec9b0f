import type { Sql } from '../database/sql-executor.js';
import { inFuture } from './claim-and-reschedule.js';
import type { DurableRow, DurableTable } from './durable-table.js';

/** Number of renewals per lease time. One or two slow answers do not end the lease. */
const PARTS = 3;

interface Leased {
  readonly sql: Sql;
  readonly table: DurableTable;
  readonly row: DurableRow;
  readonly leaseMs: number;
  /** Whether a transaction of the work holds the lock of the row. No other process can claim it then, and a renewal would wait. */
  readonly isLocked?: () => boolean;
}

/**
 * Renews the lease of a claimed row while the work runs, one renewal at a time. If the process dies, the row is due again
 * when the last lease expires.
 */
export async function whileLeased<T>(
  { sql, table, row, leaseMs, isLocked = () => false }: Leased,
  work: () => Promise<T>,
): Promise<T> {
  let isRenewing = false;
  const renew = () =>
    sql.query(`UPDATE ${table.name} SET next_attempt_at = ${inFuture(leaseMs)} WHERE id = ? AND claim_token = ?`, [
      row.id,
      row.claim_token,
    ]);
  const tick = async () => {
    if (isRenewing || isLocked()) return;
    isRenewing = true;
    await renew().catch(() => {});
    isRenewing = false;
  };
  const timer = setInterval(() => void tick(), leaseMs / PARTS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
