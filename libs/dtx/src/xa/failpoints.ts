import { defineFailpoint } from '../core/failpoint.js';
import { defineScheme } from '../core/scheme.js';

export const SCHEME = defineScheme('xa');

const point = (name: string, step: number, disk: string, finisher: string) =>
  defineFailpoint({ name: `${SCHEME}.${name}`, scheme: SCHEME, step, role: 'initiator', disk, finisher });

const PRESUMED = 'The recovery of any instance rolls back what is prepared once the deadline has passed.';
const SECOND_PHASE = 'The scan of any instance commits what is still prepared when the lease has run out.';

/** Crash points of the transaction manager, in the order of the protocol, then of the recovery. */
export const failpoints = {
  worked: point(
    'worked',
    2,
    'Every branch has done its work and none is prepared: nothing is on any disk.',
    'Nobody has to: the servers roll back when the connections end. The caller repeats its call.',
  ),
  preparedFirst: point(
    'prepared-first',
    2,
    'At least one branch is prepared and holds its locks; nothing is decided.',
    PRESUMED,
  ),
  preparedAll: point(
    'prepared-all',
    2,
    'All branches are prepared and hold their locks; nothing is decided: the decision log has no row.',
    PRESUMED,
  ),
  decided: point(
    'decided',
    3,
    'The decision to commit and the business of the order database are committed as one; all branches are prepared.',
    SECOND_PHASE,
  ),
  firstBranch: point(
    'first-branch',
    4,
    'The decision is committed and at least one branch has been committed; others may still be prepared.',
    SECOND_PHASE,
  ),
  allBranches: point(
    'all-branches',
    4,
    'Every branch is committed; the decision still counts as not carried out.',
    'The scan of any instance sees by the witnesses that all is done, and marks it.',
  ),
  marked: point(
    'marked',
    4,
    'The decision is marked DONE: nothing is left to do.',
    'Nobody has to; a caller without an answer finds the outcome with its Idempotency-Key.',
  ),
  doubted: point(
    'doubted',
    5,
    'The log is found not to be whole: that is PARKED with its one alert, and what is prepared stays prepared.',
    'A person, who ends by hand what must be committed, and says that the rest may be rolled back.',
  ),
  presumed: point(
    'presumed',
    5,
    'The recovery has written ROLLBACK into the decision log for an orphan that is still prepared.',
    'The scan of any instance rolls its branches back.',
  ),
  claimed: point(
    'claimed',
    5,
    'Every branch of the orphan is rolled back and its witness claimed; the decision still counts as not carried out.',
    'The scan of any instance finds the claims, and marks it.',
  ),
};
