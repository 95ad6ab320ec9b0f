import { defineFailpoint } from '../core/failpoint.js';
import { defineScheme } from '../core/loaded-scheme-names.js';

export const SCHEME = defineScheme('xa');

const point = (name: string, step: number, disk: string, finisher: string) =>
  defineFailpoint({ name: `${SCHEME}.${name}`, scheme: SCHEME, step, role: 'initiator', disk, finisher });

const PRESUMED = 'Recovery in any instance rolls the prepared branches back once the deadline has passed.';
const SECOND_PHASE =
  'The scan of any instance commits the branches that are still prepared when the lease has expired.';

/** Crash points of the transaction manager, in the order of the protocol, then those of recovery. */
export const failpoints = {
  worked: point(
    'worked',
    2,
    'Every branch has done its work and none is prepared. No disk holds anything of it.',
    'The servers roll back when the connections end. The caller repeats its call.',
  ),
  preparedFirst: point(
    'prepared-first',
    2,
    'At least one branch is prepared and holds its locks. No decision exists.',
    PRESUMED,
  ),
  preparedAll: point(
    'prepared-all',
    2,
    'All branches are prepared and hold their locks. The decision log has no row.',
    PRESUMED,
  ),
  decided: point(
    'decided',
    3,
    'The decision to commit is committed together with the business of the last resource. All branches are prepared.',
    SECOND_PHASE,
  ),
  firstBranch: point(
    'first-branch',
    4,
    'The decision and at least one branch are committed. Other branches may still be prepared.',
    SECOND_PHASE,
  ),
  allBranches: point(
    'all-branches',
    4,
    'Every branch is committed. The row of the decision is still COMMITTING.',
    'The scan of any instance finds every witness committed, and marks the row DONE.',
  ),
  marked: point(
    'marked',
    4,
    'The row of the decision is DONE. No work is left.',
    'No work is left. A caller without an answer finds the outcome by its Idempotency-Key.',
  ),
  doubted: point(
    'doubted',
    5,
    'A fault of the decision log is PARKED with its one alert. Prepared branches stay prepared.',
    'An operator commits by hand the branches that must be committed, then resolves the fault. Recovery rolls back the rest.',
  ),
  presumed: point(
    'presumed',
    5,
    'Recovery has written ROLLBACK into the decision log for an orphan that is still prepared.',
    'The scan of any instance rolls its branches back.',
  ),
  claimed: point(
    'claimed',
    5,
    'Every branch of the orphan is rolled back and its witness claimed. The row is still ROLLING_BACK.',
    'The scan of any instance finds the claims, and marks the row DONE.',
  ),
};
