// The barrier of steps 2 and 4 at the participant: which calls run their business. A row of dtx_tcc_barrier and the
// business commit together. If the process dies before the commit, both are missing and the call may come again as if
// for the first time. If it dies after, the row answers the repeated call without business.
import { NOW } from '../core/database/clock-sql.js';
import { insertFirst, insertOf, type SqlStatement, together, type Values } from '../core/database/insert-first.js';
import type { Sql } from '../core/database/sql-executor.js';
import {
  type BarrierRow,
  type BranchKey,
  hasSameName,
  isRepeatOf,
  knownParts,
  ownRows,
} from './barrier-row-matching.js';

/**
 * The decision of the barrier on one call.
 * - `run`: run the business in this transaction.
 * - `repeat`: done before, answer success.
 * - `skip`: an empty rollback, that is a Cancel without Try, now on record. Answer success without business.
 * - `late`: a Try after a second phase, or after a Try of another transaction under this name. Refuse it.
 * - `illegal`: a violation of the protocol. Refuse, raise an alert, change nothing.
 * - `unclear`: the rows do not show their owner. Answer failed, since a later call may succeed.
 */
export type BarrierDecision =
  | { kind: 'run'; data: unknown; tried: boolean }
  | { kind: 'repeat'; data: unknown }
  | { kind: 'skip' }
  | { kind: 'late' }
  | { kind: 'illegal' | 'unclear'; what: string };

/**
 * Value of `place`, which one row of each (gid, branch, phase) has. Other rows have NULL (see the second migration).
 */
const IN_PLACE = 1;
const BESIDE = null;

const TABLE = 'dtx_tcc_barrier';

/**
 * The barrier on a Try. It inserts its row under a unique key before any business, in the participant's own
 * transaction. If the process dies before the commit, both are undone. The insert waits for an open transaction of the
 * other phase. A lock wait timeout leaves the call without an outcome, and the initiator calls again.
 */
export async function enterTry(sql: Sql, key: BranchKey): Promise<BarrierDecision> {
  if (await take(sql, key, 'try', 'try')) return { kind: 'run', data: undefined, tried: false };
  const { first, second, problem } = ownRows(await rowsOf(sql, key), key);
  if (problem?.kind === 'illegal') return problem;
  // A refused Try is safe, because its transaction is cancelled. A Try that wrongly passes as a repeat would have no
  // effect.
  // guard: tcc.late-try
  if (problem || !first || second || !isRepeatOf(first, key)) return { kind: 'late' };
  return { kind: 'repeat', data: parsed(first) };
}

/** Stores the result of Try for the second phase, in the row that this call has inserted. */
export async function keepData(sql: Sql, key: BranchKey, data: unknown): Promise<void> {
  if (data === undefined) return;
  const { gid, branch, initiator, incarnation } = key;
  const keep = `UPDATE dtx_tcc_barrier SET data = ?
    WHERE gid = ? AND branch = ? AND phase = 'try' AND initiator = ? AND incarnation = ?`;
  await sql.query(keep, [JSON.stringify(data), gid, branch, initiator, incarnation]);
}

export async function enterConfirm(sql: Sql, key: BranchKey): Promise<BarrierDecision> {
  const isFirst = await take(sql, key, 'second', 'confirm');
  return confirming(sql, key, { isFirst, rows: await rowsOf(sql, key) });
}

/**
 * The statements that take an untouched place of a Try or a Confirm. The caller sends them with others, in one packet.
 * If the place is taken the insert fails, and `enterTry` or `enterConfirm` decides in a new transaction.
 */
export function directEntry(key: BranchKey, phase: 'try' | 'confirm'): SqlStatement {
  const row = { phase: phase === 'try' ? 'try' : 'second', op: phase, place: IN_PLACE } as const;
  // guard: tcc.direct-entry
  const insert = insertOf(TABLE, valuesOf(key, row));
  return phase === 'try' ? insert : together([insert, readOf(key)]);
}

/** The decision after the statements of `directEntry`. @param answers end with theirs */
export async function enteredDirectly(
  sql: Sql,
  key: BranchKey,
  { phase, answers }: { phase: 'try' | 'confirm'; answers: readonly unknown[] },
): Promise<BarrierDecision> {
  if (phase === 'try') return { kind: 'run', data: undefined, tried: false };
  return confirming(sql, key, { isFirst: true, rows: answers.at(-1) as BarrierRow[] });
}

async function confirming(
  sql: Sql,
  key: BranchKey,
  { isFirst, rows }: { isFirst: boolean; rows: readonly BarrierRow[] },
): Promise<BarrierDecision> {
  const { first, second, problem } = ownRows(rows, key);
  if (problem) return problem;
  if (second?.op !== 'confirm') return { kind: 'illegal', what: 'Confirm after Cancel' };
  // guard: tcc.confirm-tried
  if (first?.op !== 'try') return { kind: 'illegal', what: 'Confirm without Try' };
  if (!isFirst) return { kind: 'repeat', data: undefined };
  await unifyNames(sql, key, first);
  return { kind: 'run', data: parsed(first), tried: true };
}

/**
 * The barrier on a Cancel. It takes the Try's row first. If that succeeds, the Try has not run, and a late one
 * (suspension) is refused.
 */
export async function enterCancel(sql: Sql, key: BranchKey, withoutTry: boolean): Promise<BarrierDecision> {
  // guard: tcc.untried
  const isUntried = await take(sql, key, 'try', 'cancel');
  const isFirst = await take(sql, key, 'second', 'cancel');
  if (isUntried && isFirst) return withoutTry ? { kind: 'run', data: undefined, tried: false } : { kind: 'skip' };
  const { first, second, problem } = ownRows(await rowsOf(sql, key), key);
  if (problem) return problem;
  if (second?.op !== 'cancel') return { kind: 'illegal', what: 'Cancel after Confirm' };
  if (!isFirst || !first) return { kind: 'repeat', data: undefined };
  await unifyNames(sql, key, first);
  return { kind: 'run', data: parsed(first), tried: true };
}

type Op = BarrierRow['op'];

/**
 * Takes a phase of a branch for this call. Returns false if a row of its own transaction, or of an unknown owner,
 * exists. The row of another transaction of this gid does not prevent that: the new row stands beside it.
 */
async function take(sql: Sql, key: BranchKey, phase: BarrierRow['phase'], op: Op): Promise<boolean> {
  if (await insert(sql, key, { phase, op, place: IN_PLACE })) return true;
  if (isTaken(await rowsOf(sql, key), key, phase)) return false;
  // Two calls of one transaction may know different parts of its name, so the primary key does not separate them. The
  // lock on the other transaction's rows serializes them.
  if (isTaken(await rowsOf(sql, key, 'FOR UPDATE'), key, phase)) return false;
  return insert(sql, key, { phase, op, place: BESIDE });
}

function isTaken(rows: readonly BarrierRow[], key: BranchKey, phase: BarrierRow['phase']): boolean {
  const { first, second, problem } = ownRows(rows, key);
  return problem !== undefined || (phase === 'try' ? first : second) !== undefined;
}

interface NewRow {
  readonly phase: BarrierRow['phase'];
  readonly op: Op;
  readonly place: 1 | null;
}

function insert(sql: Sql, key: BranchKey, row: NewRow): Promise<boolean> {
  // guard: tcc.barrier-row
  return insertFirst(sql, TABLE, valuesOf(key, row));
}

function valuesOf({ gid, branch, participant, initiator, incarnation }: BranchKey, row: NewRow): Values {
  return { gid, branch, initiator, incarnation, ...row, participant, created_at: NOW };
}

function rowsOf(sql: Sql, key: BranchKey, lock?: string): Promise<BarrierRow[]> {
  const { statement, values } = readOf(key, lock);
  return sql.query(statement, values);
}

/** Reads every row of the branch. A locking read sees the first writer's row under every isolation level. */
function readOf({ gid, branch }: BranchKey, lock = 'LOCK IN SHARE MODE'): SqlStatement {
  const statement = `SELECT phase, op, participant, initiator, incarnation, data FROM dtx_tcc_barrier
     WHERE gid = ? AND branch = ? ${lock}`;
  return { statement, values: [gid, branch] };
}

/**
 * Records that a phase has committed a part of its business, perhaps with its row. Every later call of the branch is
 * then illegal, whatever the initiator decides. Runs in a transaction of its own, after that of the business. If the
 * process dies before this commits, nothing records the fault. The repeated call then passes as done if the barrier row was
 * in the committed part. Otherwise it runs the business again, and the committed part twice.
 */
export async function markBroken(sql: Sql, key: BranchKey, phase: BarrierRow['phase']): Promise<void> {
  if (await take(sql, key, phase, 'broken')) return;
  const { first, second } = ownRows(await rowsOf(sql, key, 'FOR UPDATE'), key);
  const { initiator, incarnation } = (phase === 'try' ? first : second) ?? key;
  await sql.query(
    `UPDATE dtx_tcc_barrier SET op = 'broken'
     WHERE gid = ? AND branch = ? AND phase = ? AND initiator = ? AND incarnation = ?`,
    [key.gid, key.branch, phase, initiator, incarnation],
  );
}

/** Gives both rows of a transaction the more complete of their names, so that a later reader can pair them. */
async function unifyNames(sql: Sql, key: BranchKey, first: BarrierRow): Promise<void> {
  if (hasSameName(first, key)) return;
  const [phase, from, to] =
    knownParts(key) > knownParts(first) ? (['try', first, key] as const) : (['second', key, first] as const);
  await sql.query(
    `UPDATE dtx_tcc_barrier SET initiator = ?, incarnation = ?
     WHERE gid = ? AND branch = ? AND phase = ? AND initiator = ? AND incarnation = ?`,
    [to.initiator, to.incarnation, key.gid, key.branch, phase, from.initiator, from.incarnation],
  );
}

function parsed({ data }: BarrierRow): unknown {
  return data === null ? undefined : JSON.parse(data);
}
