// For step 1, register: the calls of `define` become the rows of dtx_tcc_branch. They exist only in memory until the
// commit that registers the transaction. If the process dies before it, no participant has been called.
import { types } from 'node:util';
import { checkedJson } from '../core/broker/outgoing-payload.js';
import type { Sql } from '../core/database/sql-executor.js';
import { DtxError } from '../core/errors/errors.js';
import type { Participant } from './participant-contract.js';
import { type Branch, branchRow, INSERT_BRANCHES } from './tcc-tables.js';

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

export async function insertBranches(sql: Sql, gid: string, branches: readonly Branch[]): Promise<void> {
  for (const rows of rowsOf(gid, branches)) await sql.query(INSERT_BRANCHES, [rows]);
}

/** Characters per statement, since servers limit the size of a statement. A single larger branch gets its own. */
const ROWS_CHARS_MAX = 1_000_000;

/** The branches as rows, grouped into statements. Nearly always one statement. */
export function rowsOf(gid: string, branches: readonly Branch[]): Array<Array<Array<string | number>>> {
  const statements: Array<Array<Array<string | number>>> = [];
  let room = 0;
  for (const row of branches.map((branch) => branchRow(gid, branch))) {
    const chars = row.reduce<number>((sum, value) => sum + String(value).length, 0);
    if (chars > room || statements.length === 0) {
      statements.push([]);
      room = ROWS_CHARS_MAX;
    }
    statements.at(-1)!.push(row);
    room -= chars;
  }
  // guard: tcc.branch-rows
  return statements;
}
