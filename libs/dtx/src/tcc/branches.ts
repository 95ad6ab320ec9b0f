import { types } from 'node:util';
import { checkedJson } from '../core/broker/payload.js';
import { DtxError } from '../core/errors/errors.js';
import type { Participant } from './contract.js';
import type { Branch } from './tcc-tables.js';

const BRANCHES_MAX = 100;

/** Collects the calls of a transaction, until `define` returns. */
export interface TccCalls {
  /**
   * Adds a branch. The arguments are copied.
   * @throws DtxError when the arguments do not fit the participant's contract, or `define` has returned already
   */
  call<Args>(participant: Participant<Args>, args: Args): void;
}

/** The calls of one transaction. Nothing can be added to them. */
export interface Closed {
  readonly branches: readonly Branch[];
  /** Whether `call` was used since: it threw, and the transaction lacks a branch that it was meant to have. */
  isIncomplete(): boolean;
}

/**
 * The branches as they are stored. `define` makes all calls before it returns: the branches are registered in one
 * commit, and a later one would be unknown to recovery.
 * @param bytesMax the largest arguments of one branch, in bytes of JSON
 * @throws DtxError when there is none, too many, arguments do not fit, or `define` is asynchronous; what `define` throws
 */
export function branchesOf(define: (calls: TccCalls) => unknown, bytesMax: number): Closed {
  const branches: Branch[] = [];
  let state: 'open' | 'closed' | 'incomplete' = 'open';
  const call: TccCalls['call'] = (participant, given) => {
    // guard: tcc.closed
    if (state !== 'open') {
      state = 'incomplete';
      throw new DtxError(
        `call of TCC participant ${participant.name} v${participant.version} came after define had returned: ` +
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
  if (branches.length === 0) throw new DtxError('a TCC transaction needs at least one branch');
  if (branches.length > BRANCHES_MAX) throw new DtxError(`a TCC transaction has at most ${BRANCHES_MAX} branches`);
  return { branches, isIncomplete: () => state === 'incomplete' };
}

/** Arguments are read when they are given, and shared with nobody. */
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
  // As the participant will get them, whether by message or directly.
  const args: unknown = JSON.parse(checkedJson(subject, schema, given, bytesMax).json);
  return { branch, participant, version, args };
}

/** TypeScript takes an async function for one that returns nothing. */
function refuseThenable(returned: unknown): void {
  if (typeof (returned as { then?: unknown } | null | undefined)?.then !== 'function') return;
  // Its next call will throw inside it. The caller hears of the first error, and nobody waits for this one.
  if (types.isPromise(returned)) returned.catch(() => {});
  throw new DtxError(
    'define of a TCC transaction is asynchronous: await what the arguments need before run, then make all calls at once',
  );
}

/** Characters of arguments that one statement may have, unless one branch alone has more: servers bound a statement. */
const ROWS_CHARS_MAX = 1_000_000;

/** The branches as rows, in as many statements as they need: nearly always one. */
export function rowsOf(gid: string, branches: readonly Branch[]): Array<Array<Array<string | number>>> {
  const statements: Array<Array<Array<string | number>>> = [];
  let room = 0;
  for (const { branch, participant, version, args } of branches) {
    const json = JSON.stringify(args);
    if (json.length > room || statements.length === 0) {
      statements.push([]);
      room = ROWS_CHARS_MAX;
    }
    statements.at(-1)!.push([gid, branch, participant, version, json]);
    room -= json.length;
  }
  // guard: tcc.branch-rows
  return statements;
}
