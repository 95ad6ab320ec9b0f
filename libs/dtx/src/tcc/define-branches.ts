// For step 1, register: the calls of `define` become the rows of dtx_tcc_branch. They exist only in memory until the
// commit that registers the transaction. If the process dies before it, no participant has been called.
import { types } from 'node:util';
import { checkedJson } from '../core/broker/outgoing-payload.js';
import { DtxError } from '../core/errors/errors.js';
import type { Participant } from './participant-contract.js';
import type { Branch } from './tcc-tables.js';

const BRANCHES_MAX = 100;

/** Collects the calls of a transaction until `define` returns. */
export interface TccCalls {
  /**
   * Adds a branch. Copies the arguments.
   * @throws DtxError if the arguments do not fit the participant's contract, or `define` has returned already
   */
  call<Args>(participant: Participant<Args>, args: Args): void;
}

/** The calls of one transaction after `define` has returned. */
export interface ClosedCalls {
  readonly branches: readonly Branch[];
  /** Whether `call` was used after `define` returned. That call threw, and the transaction lacks its branch. */
  isIncomplete(): boolean;
}

/**
 * Builds the branches as they are stored. `define` makes all calls before it returns. One commit registers the
 * branches, and recovery would not know a later one.
 * @param bytesMax the largest arguments of one branch, in bytes of JSON
 * @throws DtxError for no branch, too many branches, arguments that do not fit, or an asynchronous `define`
 * @throws the error of `define`
 */
export function branchesOf(define: (calls: TccCalls) => unknown, bytesMax: number): ClosedCalls {
  if (typeof define !== 'function') throw new DtxError('run(options, define) needs a function that makes the calls');
  const branches: Branch[] = [];
  let state: 'open' | 'closed' | 'incomplete' = 'open';
  const call: TccCalls['call'] = (participant, given) => {
    // guard: tcc.closed
    if (state !== 'open') {
      state = 'incomplete';
      throw new DtxError(
        `call of TCC participant ${participant.name} v${participant.version} came after define had returned; ` +
          'make all calls before it returns',
      );
    }
    branches.push(branchOf(participant, given, { branch: branches.length, bytesMax }));
  };
  try {
    // guard: tcc.define
    refuseThenable(define({ call }));
  } finally {
    state = 'closed';
  }
  if (branches.length === 0) throw new DtxError('a TCC transaction needs at least one branch: define made no call');
  if (branches.length > BRANCHES_MAX)
    throw new DtxError(`too many branches in a TCC transaction: ${branches.length}, at most ${BRANCHES_MAX}`);
  return { branches, isIncomplete: () => state === 'incomplete' };
}

/** Reads the arguments at the call. Later changes by the caller have no effect. */
function branchOf<Args>(
  { name: participant, version, args: schema }: Participant<Args>,
  given: Args,
  { branch, bytesMax }: { branch: number; bytesMax: number },
): Branch {
  const subject = {
    whole: 'arguments',
    misfit: `arguments do not fit TCC participant ${participant} v${version}`,
    option: 'payloadMaxBytes',
  } as const;
  // The same form as the participant gets, by message or by a direct call.
  const args: unknown = JSON.parse(checkedJson(subject, schema, given, bytesMax).json);
  return { branch, participant, version, args };
}

/** TypeScript accepts an async function where a function without result is expected. */
function refuseThenable(returned: unknown): void {
  if (typeof (returned as { then?: unknown } | null | undefined)?.then !== 'function') return;
  // Its next call throws inside it. The caller gets the DtxError below, so this rejection needs no handler of its own.
  if (types.isPromise(returned)) returned.catch(() => {});
  throw new DtxError(
    'define of a TCC transaction is asynchronous; await the data for the arguments before run, then make all calls at once',
  );
}
