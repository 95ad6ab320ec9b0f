import { randomUUID } from 'node:crypto';
import type { SessionPool } from '../database/pinned-session-pool.js';
import type { Sql } from '../database/sql-executor.js';
import type { Condition, DurableRow, DurableTable } from './durable-table.js';

/**
 * Claims due rows, oldest first, with SELECT ... FOR UPDATE SKIP LOCKED. The claim moves `next_attempt_at` to the end
 * of the lease and writes a new `claim_token`. A later update without this token changes nothing (fencing). If the
 * process dies after the COMMIT, the row is due again when the lease expires. All times are those of the database.
 */
export async function claimDue<Row extends DurableRow>(
  pool: SessionPool,
  table: DurableTable,
  { limit, leaseMs, only }: { limit: number; leaseMs: number; only?: Condition | undefined },
): Promise<Row[]> {
  // A locking read also locks the first row that is not due. A process that is stopped during its scan would hide that
  // row from all others. So the transaction starts only if a row is due.
  const { sql: isDue, values } = due(only);
  if (!(await isAnyDue(pool, table, { sql: isDue, values }))) return [];
  return pool.transaction(async (sql) => {
    const rows: Row[] = await sql.query(
      `SELECT id, state, attempts, claim_token, ${table.columns.join(', ')} FROM ${table.name} FORCE INDEX (due)
       WHERE ${isDue} ORDER BY next_attempt_at LIMIT ${Number(limit)} FOR UPDATE SKIP LOCKED`,
      values,
    );
    if (rows.length === 0) return rows;
    return lease(sql, table, rows, leaseMs);
  });
}

/** Claims rows that a previous look has found. Rows that are locked or no longer due are skipped. */
export async function claimByIds<Row extends DurableRow>(
  pool: SessionPool,
  table: DurableTable,
  { ids, leaseMs, only }: { ids: readonly string[]; leaseMs: number; only?: Condition | undefined },
): Promise<Row[]> {
  const { sql: isDue, values } = due(only);
  return pool.transaction(async (sql) => {
    const rows: Row[] = await sql.query(
      `SELECT id, state, attempts, claim_token, ${table.columns.join(', ')} FROM ${table.name} FORCE INDEX (PRIMARY)
       WHERE id IN (?) AND ${isDue} FOR UPDATE SKIP LOCKED`,
      [[...ids].sort(), ...values],
    );
    if (rows.length === 0) return [];
    const place = new Map(ids.map((id, index) => [id, index]));
    rows.sort((one, other) => place.get(one.id)! - place.get(other.id)!);
    return lease(sql, table, rows, leaseMs);
  });
}

/** Leases locked rows to this process under a new token. */
async function lease<Row extends DurableRow>(sql: Sql, table: DurableTable, rows: Row[], leaseMs: number) {
  const token = randomUUID();
  const counted = table.countsLostLeases ? 'attempts = attempts + (claim_token IS NOT NULL), ' : '';
  const due = table.delayed ? `state = IF(state = '${table.delayed.waiting}', '${table.delayed.due}', state), ` : '';
  await sql.query(
    `UPDATE ${table.name} SET ${counted}${due}claim_token = ?, next_attempt_at = ${inFuture(leaseMs)} WHERE id IN (?)`,
    [token, rows.map((row) => row.id)],
  );
  return rows.map((row): Row => {
    const lost = table.countsLostLeases && row.claim_token !== null ? 1 : 0;
    return { ...row, attempts: Number(row.attempts) + lost, claim_token: token };
  });
}

async function isAnyDue(sql: Sql, { name }: DurableTable, isDue: Condition): Promise<boolean> {
  const select = `SELECT id FROM ${name} FORCE INDEX (due) WHERE ${isDue.sql} LIMIT 1`;
  const rows: unknown[] = await sql.query(select, isDue.values);
  return rows.length > 0;
}

function due(only: Condition | undefined): Condition {
  // guard: claim.is-due
  const isDue = 'next_attempt_at <= UTC_TIMESTAMP(3)';
  return only ? { sql: `${isDue} AND ${only.sql}`, values: only.values } : { sql: isDue, values: [] };
}

/** A moment `delayMs` from now by the database clock, as SQL. */
export function inFuture(delayMs: number): string {
  return `UTC_TIMESTAMP(3) + INTERVAL ${Math.round(Number(delayMs) * 1_000)} MICROSECOND`;
}

/** Reschedules a claimed row after a failed attempt. Returns false if the claim was lost (fenced out). */
export async function reschedule(
  sql: Sql,
  table: DurableTable,
  row: DurableRow,
  { error, delayMs, attempts }: { error: string; delayMs: number; attempts: number },
): Promise<boolean> {
  // guard: claim.again
  const result = await sql.query(
    `UPDATE ${table.name} SET attempts = ?, next_attempt_at = ${inFuture(delayMs)}, claim_token = NULL, last_error = ?
     WHERE id = ? AND claim_token = ?`,
    [attempts, error, row.id, row.claim_token],
  );
  return result.affectedRows === 1;
}

/** Postpones a claimed row without counting an attempt, because a dependency is unavailable. */
export async function putOff(sql: Sql, table: DurableTable, row: DurableRow, delayMs: number): Promise<void> {
  await sql.query(
    `UPDATE ${table.name} SET next_attempt_at = ${inFuture(delayMs)}, claim_token = NULL WHERE id = ? AND claim_token = ?`,
    [row.id, row.claim_token],
  );
}

/** Returns claimed rows that were not started. They are due now, behind the rows that were due before. */
export async function giveBack(sql: Sql, table: DurableTable, rows: readonly DurableRow[]): Promise<void> {
  for (const token of new Set(rows.map((row) => row.claim_token))) {
    const ids = rows.filter((row) => row.claim_token === token).map((row) => row.id);
    await sql.query(
      `UPDATE ${table.name} SET next_attempt_at = UTC_TIMESTAMP(3), claim_token = NULL WHERE id IN (?) AND claim_token = ?`,
      [ids.sort(), token],
    );
  }
}
