// Assigns barrier rows to their transactions. Pure rules, without a database.
import { UNKNOWN } from './tcc-tables.js';

/** The name of a transaction. Two transactions that differ in any part are independent. */
export interface TransactionName {
  readonly gid: string;
  /** The app that began the transaction. UNKNOWN in rows and calls of a version before barrier schema 2. */
  readonly initiator: string;
  /**
   * Random, made with the transaction. An initiator may use a gid again once it has purged the first use, and a
   * participant may remember longer. UNKNOWN if an instance of the version before registered the transaction or makes
   * the call.
   */
  readonly incarnation: string;
}

/** The key of a call. Within one transaction a branch belongs to one participant. */
export interface BranchKey extends TransactionName {
  readonly branch: number;
  readonly participant: string;
}

/** A row of dtx_tcc_barrier under one (gid, branch). */
export interface BarrierRow {
  readonly phase: 'try' | 'second';
  /** `broken`: this phase has committed only a part of its business. No later call may run. */
  readonly op: 'try' | 'confirm' | 'cancel' | 'broken';
  readonly participant: string;
  readonly initiator: string;
  readonly incarnation: string;
  /** The result of Try, as JSON. */
  readonly data: string | null;
}

/** The rows of one transaction, at most one in each phase. */
export interface OwnRows {
  readonly first: BarrierRow | undefined;
  readonly second: BarrierRow | undefined;
  /**
   * The reason why the call cannot run. `unclear`: the rows do not show their owner, so the caller must repeat the call
   * with a full name.
   */
  readonly problem: { readonly kind: 'illegal' | 'unclear'; readonly what: string } | undefined;
}

type Named = Pick<BarrierRow, 'initiator' | 'incarnation'>;

export function hasSameName(one: Named, other: Named): boolean {
  return one.initiator === other.initiator && one.incarnation === other.incarnation;
}

/** The number of known parts of a name. An incarnation is never known without its initiator. */
export function knownParts({ initiator, incarnation }: Named): number {
  return Number(initiator !== UNKNOWN) + Number(incarnation !== UNKNOWN);
}

/**
 * Picks the rows of the call's own transaction. A row with the call's full name is its own. Without such a row, one of
 * the same participant that differs only in unknown parts counts as its own. Old and new instances of both sides take
 * turns during a deployment.
 */
export function ownRows(rows: readonly BarrierRow[], key: BranchKey): OwnRows {
  const named = rows.filter((row) => hasSameName(row, key));
  const foreign = named.find(({ participant }) => participant !== key.participant);
  if (foreign) {
    const what = `branch ${key.branch} belongs to ${foreign.participant}`;
    return { first: undefined, second: undefined, problem: { kind: 'illegal', what } };
  }
  const inPhase = (phase: BarrierRow['phase']) => {
    const own = named.find((row) => row.phase === phase);
    return own ? [own] : rows.filter((row) => row.phase === phase && mayBeOf(row, key));
  };
  const [first, second] = [inPhase('try'), inPhase('second')];
  const broken = [...first, ...second].find(({ op }) => op === 'broken');
  if (broken) {
    const what = `the ${broken.phase === 'try' ? 'Try' : 'second phase'} of branch ${key.branch} has committed only in part`;
    return { first: first[0], second: second[0], problem: { kind: 'illegal', what } };
  }
  const isUnclear = first.length > 1 || second.length > 1;
  const what = `several transactions of gid ${key.gid} match a call without initiator or incarnation`;
  return { first: first[0], second: second[0], problem: isUnclear ? { kind: 'unclear', what } : undefined };
}

function mayBeOf(row: BarrierRow, key: BranchKey): boolean {
  const fits = (one: string, other: string) => one === other || one === UNKNOWN || other === UNKNOWN;
  return (
    row.participant === key.participant && fits(row.initiator, key.initiator) && fits(row.incarnation, key.incarnation)
  );
}

/**
 * Whether a row in the place of a Try was written by this very Try. Only the process that registered a transaction
 * calls its Try, so the incarnation is always the same. Another row belongs to an earlier transaction, or to one whose
 * call an old instance handled. Neither may pass as a success of this one.
 */
export function isRepeatOf(row: BarrierRow, key: BranchKey): boolean {
  return row.op === 'try' && row.incarnation === key.incarnation;
}
