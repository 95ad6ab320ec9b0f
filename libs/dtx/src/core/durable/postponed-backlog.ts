import { type Backoff, backoffSql } from '../async/backoff.js';
import type { Sql } from '../database/sql-executor.js';
import { inFuture } from './claim-and-reschedule.js';
import type { DurableTable } from './durable-table.js';

/** Rows of one statement. Receipts of these rows wait for it. */
const ROWS_MAX = 2_000;

/** The sent messages of one queue whose receipts are missing: rows of one concurrency key with the same consumers. */
export interface Backlog {
  readonly key: string;
  readonly version: number;
  readonly awaiting: string | null;
  /** Only messages whose first send is not older than this time in milliseconds. All without it. */
  readonly sentWithinMs?: number | undefined;
}

/**
 * Postpones all due rows of a backlog, without a claim and without counting an attempt. The state of the queue decides for
 * all of them. Locked rows are skipped, because a receipt or a claim is about to change them. If the process dies between
 * two statements, the other rows are still due. Returns the number of rows.
 */
export async function postponeBacklog(
  sql: Sql,
  table: DurableTable,
  backlog: Backlog,
  { wait, why }: { wait: Backoff; why: string },
): Promise<number> {
  for (let all = 0; ; ) {
    const ids = await dueOf(sql, table, backlog);
    const rows = ids.length > 0 ? await postpone(sql, table, ids, { wait, why }) : 0;
    all += rows;
    if (ids.length < ROWS_MAX || rows === 0) return all;
  }
}

/** A read without locks, because it passes rows of other queues. A claim would skip those as locked. */
async function dueOf(
  sql: Sql,
  { name, concurrencyKey }: DurableTable,
  { key, version, awaiting, sentWithinMs }: Backlog,
): Promise<string[]> {
  const isYoung = sentWithinMs === undefined ? 'TRUE' : `sent_at > ${inFuture(-sentWithinMs)}`;
  const rows: Array<{ id: string }> = await sql.query(
    `SELECT id FROM ${name} FORCE INDEX (due) WHERE next_attempt_at <= UTC_TIMESTAMP(3)
       AND ${concurrencyKey} = ? AND state = 'SENT' AND version = ? AND awaiting <=> ? AND ${isYoung}
     ORDER BY next_attempt_at LIMIT ${ROWS_MAX}`,
    [key, version, awaiting],
  );
  return rows.map(({ id }) => id);
}

async function postpone(
  sql: Sql,
  { name }: DurableTable,
  ids: readonly string[],
  { wait, why }: { wait: Backoff; why: string },
): Promise<number> {
  const chosen = `SELECT id FROM ${name} FORCE INDEX (PRIMARY) WHERE id IN (?) AND state = 'SENT'
    AND next_attempt_at <= UTC_TIMESTAMP(3) LIMIT ${ROWS_MAX} FOR UPDATE SKIP LOCKED`;
  const { affectedRows } = await sql.query(
    `UPDATE (${chosen}) chosen STRAIGHT_JOIN ${name} m ON m.id = chosen.id
     SET m.next_attempt_at = ${backoffSql(wait, 'm.attempts')}, m.claim_token = NULL, m.last_error = ?`,
    [[...ids].sort(), why],
  );
  return affectedRows;
}
