import { DtxError } from '../core/errors.js';
import type { Participant } from './contract.js';
import type { Branch } from './schema.js';

const BRANCHES_MAX = 100;

/** Collects the calls of a transaction. */
export interface TccCalls {
  call<Args>(participant: Participant<Args>, args: Args): void;
}

/** The branches as they are stored. @throws DtxError when there is none, too many, or arguments do not fit */
export function branchesOf(define: (calls: TccCalls) => void): Branch[] {
  const branches: Branch[] = [];
  define({
    call: ({ name: participant, version, args: schema }, given) => {
      const checked = schema.safeParse(given);
      if (!checked.success) {
        const problems = checked.error.issues.map(
          (issue) => `${issue.path.join('.') || 'arguments'}: ${issue.message}`,
        );
        throw new DtxError(`arguments do not fit TCC participant ${participant} v${version}: ${problems.join('; ')}`);
      }
      // As the participant will get them, whether by message or directly.
      const args: unknown = JSON.parse(JSON.stringify(checked.data ?? null));
      branches.push({ branch: branches.length, participant, version, args });
    },
  });
  if (branches.length === 0) throw new DtxError('a TCC transaction needs at least one branch');
  if (branches.length > BRANCHES_MAX) throw new DtxError(`a TCC transaction has at most ${BRANCHES_MAX} branches`);
  return branches;
}
