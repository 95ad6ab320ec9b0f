import { insertFirst, NOW } from '../core/database/insert-first.js';
import type { Sql } from '../core/database/sql.js';
import { type BarrierRow, type BranchKey, hasSameName, isRepeatOf, knownParts, ownRows } from './branch-rows.js';

/**
 * What the barrier lets through. `run`: do the business, in this transaction. `repeat`: done before, answer success.
 * `skip`: success without business (a Cancel without Try, now on record). `late`: a Try after a second phase, or after a
 * Try of another transaction under this name: refuse it. `illegal`: cannot happen unless something is broken: refuse,
 * alert, change nothing. `unclear`: not known whose rows these are: answer failed, a later call may say.
 */
export type Passage =
  | { kind: 'run'; data: unknown; tried: boolean }
  | { kind: 'repeat'; data: unknown }
  | { kind: 'skip' }
  | { kind: 'late' }
  | { kind: 'illegal' | 'unclear'; what: string };

/** The place that (gid, branch, phase) has once; NULL stands beside it (see the second migration). */
const IN_PLACE = 1;
const BESIDE = null;

/**
 * The barrier: insert first, under a unique key, in the participant's own transaction, before any business. While the
 * other phase's transaction is open the insert waits; a lock wait timeout is unknown and the call is made again.
 */
export async function enterTry(sql: Sql, key: BranchKey): Promise<Passage> {
  if (await take(sql, key, 'try', 'try')) return { kind: 'run', data: undefined, tried: false };
  const { first, second, problem } = ownRows(await rowsOf(sql, key), key);
  if (problem?.kind === 'illegal') return problem;
  // A Try that is refused is safe: its transaction is cancelled. One that passes for a repeat would have no effect.
  // guard: tcc.late-try
  if (problem || !first || second || !isRepeatOf(first, key)) return { kind: 'late' };
  return { kind: 'repeat', data: parsed(first) };
}

/** Keeps what Try returned, for the second phase. The row is the one that this very call has inserted. */
export async function keepData(sql: Sql, key: BranchKey, data: unknown): Promise<void> {
  if (data === undefined) return;
  const { gid, branch, initiator, incarnation } = key;
  const keep = `UPDATE dtx_tcc_barrier SET data = ?
    WHERE gid = ? AND branch = ? AND phase = 'try' AND initiator = ? AND incarnation = ?`;
  await sql.query(keep, [JSON.stringify(data), gid, branch, initiator, incarnation]);
}

export async function enterConfirm(sql: Sql, key: BranchKey): Promise<Passage> {
  const isFirst = await take(sql, key, 'second', 'confirm');
  const { first, second, problem } = ownRows(await rowsOf(sql, key), key);
  if (problem) return problem;
  if (second?.op !== 'confirm') return { kind: 'illegal', what: 'Confirm after Cancel' };
  // guard: tcc.confirm-tried
  if (first?.op !== 'try') return { kind: 'illegal', what: 'Confirm without Try' };
  if (!isFirst) return { kind: 'repeat', data: undefined };
  await nameAlike(sql, key, first);
  return { kind: 'run', data: parsed(first), tried: true };
}

/** Takes the Try's place first: if it can, the Try never happened, and from now on never will. */
export async function enterCancel(sql: Sql, key: BranchKey, withoutTry: boolean): Promise<Passage> {
  // guard: tcc.untried
  const isUntried = await take(sql, key, 'try', 'cancel');
  const isFirst = await take(sql, key, 'second', 'cancel');
  if (isUntried && isFirst) return withoutTry ? { kind: 'run', data: undefined, tried: false } : { kind: 'skip' };
  const { first, second, problem } = ownRows(await rowsOf(sql, key), key);
  if (problem) return problem;
  if (second?.op !== 'cancel') return { kind: 'illegal', what: 'Cancel after Confirm' };
  if (!isFirst || !first) return { kind: 'repeat', data: undefined };
  await nameAlike(sql, key, first);
  return { kind: 'run', data: parsed(first), tried: true };
}

type Op = BarrierRow['op'];

/**
 * Takes a phase of a branch for this call. False when a row of its own transaction, or nobody knows whose, is there.
 * The row of another transaction of this gid is no reason to wait: this one then stands beside it.
 */
async function take(sql: Sql, key: BranchKey, phase: BarrierRow['phase'], op: Op): Promise<boolean> {
  if (await insert(sql, key, { phase, op, place: IN_PLACE })) return true;
  if (isTaken(await rowsOf(sql, key), key, phase)) return false;
  // Two calls of one transaction may differ in what they know of its name, and would not meet under the primary key:
  // the lock on the other transaction's rows lets them in one after the other.
  if (isTaken(await rowsOf(sql, key, 'FOR UPDATE'), key, phase)) return false;
  return insert(sql, key, { phase, op, place: BESIDE });
}

function isTaken(rows: readonly BarrierRow[], key: BranchKey, phase: BarrierRow['phase']): boolean {
  const { first, second, problem } = ownRows(rows, key);
  return problem !== undefined || (phase === 'try' ? first : second) !== undefined;
}

function insert(
  sql: Sql,
  { gid, branch, participant, initiator, incarnation }: BranchKey,
  row: { phase: BarrierRow['phase']; op: Op; place: 1 | null },
): Promise<boolean> {
  const name = { gid, branch, initiator, incarnation };
  // guard: tcc.barrier-row
  return insertFirst(sql, 'dtx_tcc_barrier', { ...name, ...row, participant, created_at: NOW });
}

/** Every row of the branch. A locking read sees the winner's row under every isolation level. */
function rowsOf(sql: Sql, { gid, branch }: BranchKey, lock = 'LOCK IN SHARE MODE'): Promise<BarrierRow[]> {
  return sql.query(
    `SELECT phase, op, participant, initiator, incarnation, data FROM dtx_tcc_barrier
     WHERE gid = ? AND branch = ? ${lock}`,
    [gid, branch],
  );
}

/**
 * Writes down that a phase has committed a part of its business, and maybe its row with it: each later call of the branch
 * is then illegal, whatever its initiator decides. In a transaction of its own, after that of the business.
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

/** Gives both rows of a transaction the fuller of their names, so that whoever reads them later can pair them. */
async function nameAlike(sql: Sql, key: BranchKey, first: BarrierRow): Promise<void> {
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
