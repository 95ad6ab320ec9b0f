import type { Sql } from '../database/sql.js';
import { inFuture } from './claim.js';
import type { DurableRow, DurableTable } from './durable-table.js';

/** Renewed so often within its time that a slow answer or two do not end it. */
const PARTS = 3;

interface Leased {
  readonly sql: Sql;
  readonly table: DurableTable;
  readonly row: DurableRow;
  readonly leaseMs: number;
}

/**
 * Keeps a claimed row from other claims for as long as the work takes. If the process dies, the row is due again when the
 * last lease ends.
 */
export async function whileLeased<T>({ sql, table, row, leaseMs }: Leased, work: () => Promise<T>): Promise<T> {
  const renew = () =>
    sql.query(`UPDATE ${table.name} SET next_attempt_at = ${inFuture(leaseMs)} WHERE id = ? AND claim_token = ?`, [
      row.id,
      row.claim_token,
    ]);
  const timer = setInterval(() => void renew().catch(() => {}), leaseMs / PARTS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
