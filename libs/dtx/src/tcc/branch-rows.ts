// Whose rows of the barrier are whose: rules without a database.
import { UNKNOWN } from './tcc-tables.js';

/** Names a transaction: two that differ in any of these have nothing to do with one another. */
export interface TransactionName {
  readonly gid: string;
  /** The app that began it. UNKNOWN to a version before 2 of the barrier's schema. */
  readonly initiator: string;
  /**
   * Random, made with the transaction: a gid may be used again once its initiator has forgotten it, and a participant
   * may remember longer. UNKNOWN when an instance of the version before has registered it, or makes the call.
   */
  readonly incarnation: string;
}

/** Which call it is. In one transaction a branch belongs to one participant. */
export interface BranchKey extends TransactionName {
  readonly branch: number;
  readonly participant: string;
}

/** A row of dtx_tcc_barrier under one (gid, branch). */
export interface BarrierRow {
  readonly phase: 'try' | 'second';
  /** `broken`: this phase has committed a part of its business and no more. Nothing may build on it. */
  readonly op: 'try' | 'confirm' | 'cancel' | 'broken';
  readonly participant: string;
  readonly initiator: string;
  readonly incarnation: string;
  /** What Try returned, as JSON. */
  readonly data: string | null;
}

/** The rows of one transaction, at most one in each phase. */
export interface OwnRows {
  readonly first: BarrierRow | undefined;
  readonly second: BarrierRow | undefined;
  /** Why nothing can be done. `unclear`: the rows do not say whose they are, and must be asked again with a full name. */
  readonly problem: { readonly kind: 'illegal' | 'unclear'; readonly what: string } | undefined;
}

type Named = Pick<BarrierRow, 'initiator' | 'incarnation'>;

export function hasSameName(one: Named, other: Named): boolean {
  return one.initiator === other.initiator && one.incarnation === other.incarnation;
}

/** How much of a name is known: an incarnation is never known without its initiator. */
export function knownParts({ initiator, incarnation }: Named): number {
  return Number(initiator !== UNKNOWN) + Number(incarnation !== UNKNOWN);
}

/**
 * Picks the rows of the call's own transaction. A row with its full name is its own. Failing that, a row is its own that
 * differs only in what one side does not know, and belongs to the same participant: old and new instances of initiator
 * and participant take turns while a deployment is under way.
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
    const what = `the ${broken.phase === 'try' ? 'Try' : 'second phase'} of branch ${key.branch} is done in part`;
    return { first: first[0], second: second[0], problem: { kind: 'illegal', what } };
  }
  const isUnclear = first.length > 1 || second.length > 1;
  const what = `several transactions of gid ${key.gid} fit a call that does not say which one it belongs to`;
  return { first: first[0], second: second[0], problem: isUnclear ? { kind: 'unclear', what } : undefined };
}

function mayBeOf(row: BarrierRow, key: BranchKey): boolean {
  const fits = (one: string, other: string) => one === other || one === UNKNOWN || other === UNKNOWN;
  return (
    row.participant === key.participant && fits(row.initiator, key.initiator) && fits(row.incarnation, key.incarnation)
  );
}

/**
 * Whether a row in the place of a Try was written for this very Try. A Try is only called by the process that registered
 * its transaction, so it always comes with the same incarnation. Another row is of an earlier transaction, or of one whose
 * call an old instance took: neither may pass for a success of this one.
 */
export function isRepeatOf(row: BarrierRow, key: BranchKey): boolean {
  return row.op === 'try' && row.incarnation === key.incarnation;
}
