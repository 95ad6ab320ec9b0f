import { insertFirst, NOW } from '../core/database/insert-first.js';
import type { Sql } from '../core/database/sql.js';

/** Which call it is: the barrier's key is (gid, branch, phase), and Confirm and Cancel share the phase `second`. */
export interface BranchKey {
  readonly gid: string;
  readonly branch: number;
  readonly participant: string;
}

/**
 * What the barrier lets through. `run`: do the business, in this transaction. `repeat`: done before, answer success.
 * `skip`: success without business (a Cancel without Try, now on record). `late`: a Try after its Cancel, refuse it.
 * `illegal`: cannot happen unless something is broken: refuse, alert, change nothing.
 */
export type Passage =
  | { kind: 'run'; data: unknown; tried: boolean }
  | { kind: 'repeat'; data: unknown }
  | { kind: 'skip' }
  | { kind: 'late' }
  | { kind: 'illegal'; what: string };

/**
 * The barrier: insert first, under a unique key, in the participant's own transaction, before any business. While the
 * other phase's transaction is open the insert waits; a lock wait timeout is unknown and the call is made again.
 */
export async function enterTry(sql: Sql, key: BranchKey): Promise<Passage> {
  if (await record(sql, key, 'try', 'try')) return { kind: 'run', data: undefined, tried: false };
  const { first, second } = await passed(sql, key);
  return first?.op === 'try' && second?.op !== 'cancel' ? { kind: 'repeat', data: first.data } : { kind: 'late' };
}

/** Keeps what Try returned, for the second phase. */
export async function keepData(sql: Sql, key: BranchKey, data: unknown): Promise<void> {
  if (data === undefined) return;
  const keep = `UPDATE dtx_tcc_barrier SET data = ? WHERE gid = ? AND branch = ? AND phase = 'try'`;
  await sql.query(keep, [JSON.stringify(data), key.gid, key.branch]);
}

export async function enterConfirm(sql: Sql, key: BranchKey): Promise<Passage> {
  const isFirst = await record(sql, key, 'second', 'confirm');
  const { first, second } = await passed(sql, key);
  if (second?.op !== 'confirm') return { kind: 'illegal', what: 'Confirm after Cancel' };
  if (first?.op !== 'try') return { kind: 'illegal', what: 'Confirm without Try' };
  return isFirst ? { kind: 'run', data: first.data, tried: true } : { kind: 'repeat', data: undefined };
}

/** Takes the Try's place first: if it can, the Try never happened, and from now on never will. */
export async function enterCancel(sql: Sql, key: BranchKey, withoutTry: boolean): Promise<Passage> {
  const isUntried = await record(sql, key, 'try', 'cancel');
  const isFirst = await record(sql, key, 'second', 'cancel');
  if (isUntried && isFirst) return withoutTry ? { kind: 'run', data: undefined, tried: false } : { kind: 'skip' };
  const { first, second } = await passed(sql, key);
  if (second?.op !== 'cancel') return { kind: 'illegal', what: 'Cancel after Confirm' };
  return isFirst ? { kind: 'run', data: first?.data, tried: true } : { kind: 'repeat', data: undefined };
}

function record(sql: Sql, key: BranchKey, phase: 'try' | 'second', op: string): Promise<boolean> {
  const { gid, branch, participant } = key;
  return insertFirst(sql, 'dtx_tcc_barrier', { gid, branch, phase, op, participant, created_at: NOW });
}

interface Passed {
  readonly op: string;
  readonly data: unknown;
}

/** Both rows. A shared lock sees the winner's row under every isolation level, and two of them never deadlock on it. */
async function passed(sql: Sql, { gid, branch }: BranchKey): Promise<{ first?: Passed; second?: Passed }> {
  const rows: Array<{ phase: string; op: string; data: string | null }> = await sql.query(
    `SELECT phase, op, data FROM dtx_tcc_barrier WHERE gid = ? AND branch = ? AND phase IN ('try', 'second') LOCK IN SHARE MODE`,
    [gid, branch],
  );
  const of = (phase: string) => {
    const row = rows.find((one) => one.phase === phase);
    return row && { op: row.op, data: row.data === null ? undefined : JSON.parse(row.data) };
  };
  return { first: of('try'), second: of('second') };
}
