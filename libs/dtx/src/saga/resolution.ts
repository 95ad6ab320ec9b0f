// An operator settles a saga by hand. Runs in the transaction that holds the lock on its row.
import type { Sql } from '../core/database/sql-executor.js';
import type { TableRow } from '../core/durable/durable-table.js';
import type { Outcome } from '../core/durable/durable-work.js';
import { pivotGroupOf, type Saga } from './saga-entries.js';
import type { StepRecords } from './step-records.js';

/** A group that no process has reached. Every group that may be undone is. */
const ALL = 1_000;

interface ByHand {
  readonly sql: Sql;
  readonly row: TableRow;
  readonly outcome: Outcome;
  readonly records: StepRecords;
  /** Undefined if this build does not have it. */
  readonly saga: Saga | undefined;
}

/**
 * `done`: the operator has done what the failing steps should have done, and the rest of the saga goes on. At the pivot it
 * states that the pivot has happened. `reject`: an undecided saga turns back, and at the pivot it states that the pivot has
 * not happened. Returns false where a statement would contradict the saga.
 */
export async function resolveByHand({ sql, row, outcome, records, saga }: ByHand): Promise<boolean> {
  const { id, direction, state } = row;
  if (outcome === 'reject') {
    if (direction !== null && !(direction === 'PIVOT' && state === 'PARKED')) return false;
    await turn(sql, id);
    return true;
  }
  if (state !== 'PARKED' || !saga || direction === null) return false;
  if (direction === 'PIVOT') {
    await proceed(sql, id, { step: pivotGroupOf(saga.groups)! + 1, direction: 'FORWARD' });
    return true;
  }
  const settled = await records.settleFailed(sql, id, direction === 'COMPENSATING' ? 'undone' : 'done');
  if (settled.length === 0) return false;
  await proceed(sql, id, { step: Number(row.step), direction: String(direction) });
  return true;
}

async function turn(sql: Sql, id: string): Promise<void> {
  await sql.query(
    `UPDATE dtx_saga SET state = 'COMPENSATING', direction = 'COMPENSATING', reason = 'OPERATOR', step = ${ALL}, attempts = 0,
       waiting_since = NULL, decided_at = UTC_TIMESTAMP(3), claim_token = NULL, next_attempt_at = UTC_TIMESTAMP(3)
     WHERE id = ?`,
    [id],
  );
}

async function proceed(sql: Sql, id: string, { step, direction }: { step: number; direction: string }): Promise<void> {
  await sql.query(
    `UPDATE dtx_saga SET state = ?, direction = ?, step = ?, attempts = 0, claim_token = NULL,
       next_attempt_at = UTC_TIMESTAMP(3) WHERE id = ?`,
    [direction, direction, step, id],
  );
}
