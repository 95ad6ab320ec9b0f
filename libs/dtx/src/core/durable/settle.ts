import { SqlExpression } from '../database/insert-first.js';
import type { SqlValue } from '../database/literal.js';
import type { Sql } from '../database/sql.js';
import type { DurableRow, DurableTable } from './durable-table.js';

/**
 * When a parked row is due: not by itself. A date instead of NULL keeps it among the open rows of the `due` index, so that
 * a list of open rows never reads the finished ones.
 */
export const NEVER_BY_ITSELF = `'9999-12-31 00:00:00.000'`;
/** The column takes more. Longer errors say nothing more to a person. */
const ERROR_CHARS_MAX = 1_000;

/** The columns of a row that is inserted PARKED: a person must look at it. */
export function parkedColumns(problem: string) {
  const next_attempt_at = new SqlExpression(NEVER_BY_ITSELF);
  return { state: 'PARKED', last_error: problem.slice(0, ERROR_CHARS_MAX), next_attempt_at };
}

/** Parks a claimed row until a person retries or resolves it. Returns false if the claim was lost (fenced out). */
export async function park(
  sql: Sql,
  table: DurableTable,
  row: DurableRow,
  { error, attempts }: { error: string; attempts: number },
): Promise<boolean> {
  // guard: claim.parked
  const result = await sql.query(
    `UPDATE ${table.name} SET state = 'PARKED', attempts = ?, next_attempt_at = ${NEVER_BY_ITSELF}, claim_token = NULL,
       last_error = ? WHERE id = ? AND claim_token = ?`,
    [attempts, error.slice(0, ERROR_CHARS_MAX), row.id, row.claim_token],
  );
  return result.affectedRows === 1;
}

interface Final {
  readonly ids: readonly string[];
  /** Another final state than the table's own, as SQL. */
  readonly state?: string;
  /** Further assignments, such as `m.outcome = ?`. */
  readonly also?: { readonly sql: string; readonly values: readonly SqlValue[] };
  /** Which of these rows `m`. Without it all of them, whatever their state and claim. */
  readonly only?: { readonly sql: string; readonly values: readonly SqlValue[] };
  /** A join that comes with `also`, such as the alert that is closed with the row. */
  readonly join?: { readonly sql: string; readonly values: readonly SqlValue[] };
}

/**
 * Ends rows: final state, nothing more due, no claim, the time of the end. Returns how many rows were ended, alerts that
 * were closed with them included. Repeated, it changes nothing but the time.
 */
export async function settleFinal(
  sql: Sql,
  { name, finalState, endedAt }: DurableTable,
  { ids, state = finalState, also, only, join }: Final,
): Promise<number> {
  const assignments = [
    `m.state = ${state}`,
    'm.next_attempt_at = NULL',
    'm.claim_token = NULL',
    ...(endedAt ? [`m.${endedAt} = UTC_TIMESTAMP(3)`] : []),
    ...(also ? [also.sql] : []),
  ];
  const { affectedRows } = await sql.query(
    `UPDATE ${name} m ${join?.sql ?? ''} SET ${assignments.join(', ')} WHERE m.id IN (?)${only ? ` AND ${only.sql}` : ''}`,
    [...(join?.values ?? []), ...(also?.values ?? []), [...ids].sort(), ...(only?.values ?? [])],
  );
  return affectedRows;
}
