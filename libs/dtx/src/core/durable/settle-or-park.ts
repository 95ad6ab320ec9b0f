/**
 * The statements that end or park a durable row. docs/states.md shows the states. Each is one UPDATE. If the process dies
 * before it commits, the row is unchanged, and it runs again when its lease expires.
 */
import type { SqlStatement } from '../database/insert-first.js';
import type { Sql } from '../database/sql-executor.js';
import { SqlExpression, type SqlValue } from '../database/sql-literals.js';
import type { DurableRow, DurableTable } from './durable-table.js';

/**
 * The due time of a parked row. A date instead of NULL keeps it among the open rows of the index `due`. A list of open
 * rows then never reads the finished ones.
 */
export const NEVER_BY_ITSELF = `'9999-12-31 00:00:00.000'`;
/** The maximum length of a stored error. The column takes more, but longer texts do not help an operator. */
const ERROR_CHARS_MAX = 1_000;

/** The columns of a row that is inserted as PARKED. */
export function parkedColumns(problem: string) {
  const next_attempt_at = new SqlExpression(NEVER_BY_ITSELF);
  return { state: 'PARKED', last_error: problem.slice(0, ERROR_CHARS_MAX), next_attempt_at };
}

/** Parks a claimed row until an operator retries or resolves it. Returns false if the claim was lost (fenced out). */
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
  /** A final state other than that of the table, as SQL. */
  readonly state?: string;
  /** Further assignments, such as `m.outcome = ?`. */
  readonly also?: { readonly sql: string; readonly values: readonly SqlValue[] };
  /** A condition on the rows `m`. Without it, all of them end, in any state and with any claim. */
  readonly only?: { readonly sql: string; readonly values: readonly SqlValue[] };
  /** A join for `also`, such as the alert that closes with the row. */
  readonly join?: { readonly sql: string; readonly values: readonly SqlValue[] };
}

/**
 * Ends rows: final state, no due time, no claim, completion time. Returns the number of changed rows, including alerts
 * that close with them. A repeated call changes only the time.
 */
export async function settleFinal(sql: Sql, table: DurableTable, final: Final): Promise<number> {
  const { statement, values } = finalMarkOf(table, final);
  return (await sql.query(statement, values)).affectedRows;
}

/** The statement of `settleFinal`, for a caller that combines it with other statements. */
export function finalMarkOf(
  { name, finalState, endedAt }: DurableTable,
  { ids, state = finalState, also, only, join }: Final,
): SqlStatement {
  const assignments = [
    `m.state = ${state}`,
    'm.next_attempt_at = NULL',
    'm.claim_token = NULL',
    ...(endedAt ? [`m.${endedAt} = UTC_TIMESTAMP(3)`] : []),
    ...(also ? [also.sql] : []),
  ];
  return {
    statement: `UPDATE ${name} m ${join?.sql ?? ''} SET ${assignments.join(', ')} WHERE m.id IN (?)${only ? ` AND ${only.sql}` : ''}`,
    values: [...(join?.values ?? []), ...(also?.values ?? []), [...ids].sort(), ...(only?.values ?? [])],
  };
}
