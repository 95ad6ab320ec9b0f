// The barrier of steps 2 to 4 at the app of a step: which calls run their business. A row of dtx_saga_barrier and the
// business commit together. If the process dies before the commit, both are missing and the call may come again as if for
// the first time. If it dies after, the row answers the repeated call without business.
import { isDeepStrictEqual } from 'node:util';
import { NOW } from '../core/database/clock-sql.js';
import { insertFirst, type Values } from '../core/database/insert-first.js';
import type { Sql } from '../core/database/sql-executor.js';
import { REASON_STORED_MAX } from './call-messages.js';

/** The name of a step of one saga. The incarnation separates two sagas that use one gid one after the other. */
export interface StepKey {
  readonly gid: string;
  readonly initiator: string;
  readonly incarnation: string;
  readonly step: string;
}

/**
 * The decision of the barrier on one call.
 * - `run`: run the business in this transaction. An Undo gets the arguments and the result of its Do.
 * - `repeat`: done before, answer success with the kept result.
 * - `skip`: an Undo without a Do, now on record. Answer success without business.
 * - `refused`: the Do was refused before.
 * - `late`: a Do after its Undo. It never runs.
 * - `illegal`: a violation of the protocol. Refuse, raise an alert, change nothing.
 */
export type BarrierDecision =
  | { readonly kind: 'run'; readonly args: unknown; readonly result: unknown }
  | { readonly kind: 'repeat'; readonly result: unknown }
  | { readonly kind: 'skip' | 'late' }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'illegal'; readonly what: string };

type Phase = 'do' | 'undo';
/** `broken`: the phase has committed only a part of its business. */
type Op = 'do' | 'refused' | 'undo' | 'broken';

interface BarrierRow {
  readonly phase: Phase;
  readonly op: Op;
  readonly args: string | null;
  readonly result: string | null;
  readonly reason: string | null;
}

export const BARRIER = 'dtx_saga_barrier';

/** The row of a Do. It is inserted before any business, with the begin of the transaction. */
export function doRow(key: StepKey, args: unknown): Values {
  return { ...key, phase: 'do', op: 'do', args: JSON.stringify(args), created_at: NOW };
}

/** The decision on a Do whose row exists. A locking read sees the first writer's row under every isolation level. */
export async function knownDo(sql: Sql, key: StepKey, args: unknown): Promise<BarrierDecision> {
  const { first, second } = await rowsOf(sql, key);
  if (first?.op === 'broken' || second?.op === 'broken') return inPart(key);
  if (first?.op === 'refused') return { kind: 'refused', reason: first.reason ?? '' };
  if (first?.op !== 'do' || second) return { kind: 'late' };
  // Found after a deployment that computes other arguments for a step that has run.
  if (!isDeepStrictEqual(parsed(first.args), args))
    return { kind: 'illegal', what: `Do of ${key.step} came again with other arguments` };
  return { kind: 'repeat', result: parsed(first.result) };
}

/** Stores the result of a Do in the row that this call has inserted. */
export const KEEP_RESULT = `UPDATE ${BARRIER} SET result = ?
  WHERE gid = ? AND step = ? AND phase = 'do' AND initiator = ? AND incarnation = ?`;

/** `KEEP_RESULT` for a table with the name of its database, in which `replace` would take `$` for a pattern. */
export const keepResultIn = (table: string): string => KEEP_RESULT.replace(BARRIER, () => table);

export const keepResultValues = ({ gid, step, initiator, incarnation }: StepKey, result: unknown) => [
  JSON.stringify(result),
  gid,
  step,
  initiator,
  incarnation,
];

/**
 * Records a refusal, after the rollback of its business. Every repeat of the Do is then refused, although its business
 * might succeed by now: the saga may be compensating already. If another call of the Do was first, its row decides.
 */
export async function recordRefusal(sql: Sql, key: StepKey, args: unknown, reason: string): Promise<BarrierDecision> {
  const given = reason.slice(0, REASON_STORED_MAX);
  const row = { ...doRow(key, args), op: 'refused', reason: given };
  // guard: saga.refusal
  return (await insertFirst(sql, BARRIER, row)) ? { kind: 'refused', reason: given } : knownDo(sql, key, args);
}

type IsOld = () => Promise<boolean>;

/**
 * The barrier on an Undo. It takes the Do's row first. If that succeeds, the Do has not run, and a late one never will.
 * @param isOld whether rows of this saga may have been purged, so that a missing row proves nothing. Asked once the row is
 *   known to be missing, since the look at it may have waited for a lock.
 */
export async function enterUndo(sql: Sql, key: StepKey, isOld: IsOld): Promise<BarrierDecision> {
  // guard: saga.undo-record
  if (await take(sql, key, 'do', 'undo')) return (await isOld()) ? forgotten(key) : { kind: 'skip' };
  const { first, second } = await rowsOf(sql, key);
  if (first?.op === 'broken' || second?.op === 'broken') return inPart(key);
  if (first?.op !== 'do') return { kind: 'repeat', result: undefined };
  // guard: saga.undo-once
  if (!(await take(sql, key, 'undo', 'undo'))) return { kind: 'repeat', result: undefined };
  return { kind: 'run', args: parsed(first.args), result: parsed(first.result) };
}

/**
 * The fence of a pivot: takes its place. `skip`: the pivot has not run and never will. `repeat`: it has run, with its
 * result.
 */
export async function enterFence(sql: Sql, key: StepKey, isOld: IsOld): Promise<BarrierDecision> {
  if (await take(sql, key, 'do', 'undo')) return (await isOld()) ? forgotten(key) : { kind: 'skip' };
  const { first } = await rowsOf(sql, key);
  if (first?.op === 'broken') return inPart(key);
  return first?.op === 'do' ? { kind: 'repeat', result: parsed(first.result) } : { kind: 'skip' };
}

/** The arguments of a Do that has run. A fence has none of its own. */
export async function keptArgs(sql: Sql, key: StepKey): Promise<unknown> {
  const { first } = await rowsOf(sql, key);
  return parsed(first?.args ?? null);
}

/**
 * Records that a phase has committed a part of its business, perhaps with its row. Every later call of the step is then
 * illegal. Runs in a transaction of its own, after that of the business.
 */
export async function markBroken(sql: Sql, key: StepKey, phase: Phase): Promise<void> {
  if (await take(sql, key, phase, 'broken')) return;
  await sql.query(
    `UPDATE ${BARRIER} SET op = 'broken' WHERE gid = ? AND step = ? AND phase = ? AND initiator = ? AND incarnation = ?`,
    [key.gid, key.step, phase, key.initiator, key.incarnation],
  );
}

/** The decision on a Do that is older than the memory of this app. */
export function forgotten({ step }: StepKey): BarrierDecision {
  return {
    kind: 'illegal',
    what: `${step} has no row of this saga, which is older than saga.retentionMs, so the row may have been purged`,
  };
}

function inPart({ step }: StepKey): BarrierDecision {
  return { kind: 'illegal', what: `${step} has committed only a part of its business` };
}

function take(sql: Sql, key: StepKey, phase: Phase, op: Op): Promise<boolean> {
  return insertFirst(sql, BARRIER, { ...key, phase, op, created_at: NOW });
}

async function rowsOf(sql: Sql, { gid, step, initiator, incarnation }: StepKey) {
  const rows: BarrierRow[] = await sql.query(
    `SELECT phase, op, args, result, reason FROM ${BARRIER}
     WHERE gid = ? AND step = ? AND initiator = ? AND incarnation = ? LOCK IN SHARE MODE`,
    [gid, step, initiator, incarnation],
  );
  return { first: rows.find(({ phase }) => phase === 'do'), second: rows.find(({ phase }) => phase === 'undo') };
}

function parsed(json: string | null): unknown {
  return json === null ? undefined : JSON.parse(json);
}
