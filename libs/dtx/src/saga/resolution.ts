// An operator settles a saga by hand. Runs in the transaction that holds the lock on its row.
import type { Sql } from '../core/database/sql-executor.js';
import type { TableRow } from '../core/durable/durable-table.js';
import type { Outcome } from '../core/durable/durable-work.js';
import { pivotGroupOf, type Saga } from './saga-entries.js';
import type { StepRecords } from './step-records.js';

/** A group that no process has reached. Every group that may be undone is. */
const ALL = 1_000;
/** The reason of a saga that an operator has settled. */
const BY_HAND = 'OPERATOR';
const DUE = 'attempts = 0, claim_token = NULL, next_attempt_at = UTC_TIMESTAMP(3)';

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
 * not happened. A statement about the pivot stays in `reason` until the app of the pivot is fenced. Returns false where a
 * statement would contradict the saga.
 */
export async function resolveByHand({ sql, row, outcome, records, saga }: ByHand): Promise<boolean> {
  const { id, direction, state } = row;
  const isParked = state === 'PARKED';
  if (outcome === 'reject') {
    if (direction === null) await turn(sql, id);
    else if (direction === 'PIVOT' && isParked) await rejectPivot(sql, id);
    else return false;
    return true;
  }
  if (!isParked || !saga || direction === null) return false;
  // After `done` a saga with a reason has not been able to fence its pivot.
  if (direction === 'PIVOT' || (direction === 'FORWARD' && row.reason !== null)) {
    await passPivot(sql, id, pivotGroupOf(saga.groups)! + 1);
    return true;
  }
  const settled = await records.settleFailed(sql, id, direction === 'COMPENSATING' ? 'undone' : 'done');
  if (settled.length === 0) return false;
  await sql.query(`UPDATE dtx_saga SET state = direction, ${DUE} WHERE id = ?`, [id]);
  return true;
}

/** Before the pivot nothing has to be fenced. No call of it was made, and none will be. */
async function turn(sql: Sql, id: string): Promise<void> {
  await sql.query(
    `UPDATE dtx_saga SET state = 'COMPENSATING', direction = 'COMPENSATING', reason = '${BY_HAND}', step = ${ALL},
       waiting_since = NULL, decided_at = UTC_TIMESTAMP(3), ${DUE} WHERE id = ?`,
    [id],
  );
}

/** The saga stays at its pivot until the app of the pivot is fenced. An instance of an earlier version calls it again. */
async function rejectPivot(sql: Sql, id: string): Promise<void> {
  await sql.query(`UPDATE dtx_saga SET state = 'PIVOT', reason = '${BY_HAND}', ${DUE} WHERE id = ?`, [id]);
}

async function passPivot(sql: Sql, id: string, step: number): Promise<void> {
  await sql.query(
    `UPDATE dtx_saga SET state = 'FORWARD', direction = 'FORWARD', reason = '${BY_HAND}', step = ?, ${DUE} WHERE id = ?`,
    [step, id],
  );
}
