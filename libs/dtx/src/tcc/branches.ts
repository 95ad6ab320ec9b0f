import { checkedJson } from '../core/broker/payload.js';
import { DtxError } from '../core/errors.js';
import type { Participant } from './contract.js';
import type { Branch } from './schema.js';

const BRANCHES_MAX = 100;

/** Collects the calls of a transaction. */
export interface TccCalls {
  call<Args>(participant: Participant<Args>, args: Args): void;
}

/**
 * The branches as they are stored. Arguments are read when they are given, and shared with nobody.
 * @param bytesMax the largest arguments of one branch, in bytes of JSON
 * @throws DtxError when there is none, too many, or arguments do not fit
 */
export function branchesOf(define: (calls: TccCalls) => void, bytesMax: number): Branch[] {
  const branches: Branch[] = [];
  define({
    call: ({ name: participant, version, args: schema }, given) => {
      const subject = {
        whole: 'arguments',
        misfit: `arguments do not fit TCC participant ${participant} v${version}`,
        option: 'payloadMaxBytes',
      } as const;
      // As the participant will get them, whether by message or directly.
      const args: unknown = JSON.parse(checkedJson(subject, schema, given, bytesMax).json);
      branches.push({ branch: branches.length, participant, version, args });
    },
  });
  if (branches.length === 0) throw new DtxError('a TCC transaction needs at least one branch');
  if (branches.length > BRANCHES_MAX) throw new DtxError(`a TCC transaction has at most ${BRANCHES_MAX} branches`);
  return branches;
}

/** Characters of arguments that one statement may have, unless one branch alone has more: servers bound a statement. */
const ROWS_CHARS_MAX = 1_000_000;

/** The branches as rows, in as many statements as they need: nearly always one. */
export function rowsOf(gid: string, branches: readonly Branch[]): unknown[][][] {
  const statements: unknown[][][] = [];
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
  return statements;
}
