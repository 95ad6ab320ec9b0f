import { defineFailpoint, type Role } from '../core/failpoint.js';
import { SCHEME } from './scheme-name.js';

const point = (role: Role) => (name: string, step: number, disk: string, finisher: string) =>
  defineFailpoint({ name: `${SCHEME}.${name}`, scheme: SCHEME, step, role, disk, finisher });

const initiator = point('initiator');
const participant = point('participant');
const FORWARD =
  'The scan of any instance goes on once the lease has expired. Steps that are done answer with their kept result.';
const BACK =
  'The scan of any instance compensates once the lease has expired. Steps that are undone answer as a repeat.';

/** Crash points of the initiator, in the order of the protocol, then those of a participant. */
export const failpoints = {
  started: initiator(
    'started',
    1,
    'The saga (RUNNING, with its deadline) is committed with the work of the caller. No step was called.',
    FORWARD,
  ),
  stepAnswered: initiator(
    'step-answered',
    2,
    'A step is committed at its app and answered. The row of the saga does not know it.',
    FORWARD,
  ),
  pivotMarked: initiator(
    'pivot-marked',
    3,
    'The saga is PIVOT with the results so far. Cancel and deadline cannot turn it any more. The pivot was not called.',
    FORWARD,
  ),
  pivotAnswered: initiator(
    'pivot-answered',
    3,
    'The pivot is committed at its app and answered. The saga is still PIVOT.',
    FORWARD,
  ),
  fenced: initiator(
    'fenced',
    3,
    'The app of the pivot has recorded that the pivot will never run, or that it has run. The saga is still PIVOT.',
    'The scan of any instance asks again, and the record answers the same.',
  ),
  decided: initiator('decided', 4, 'The saga is COMPENSATING with its reason. No step was undone.', BACK),
  firstUndone: initiator(
    'first-undone',
    4,
    'At least one step is undone at its app. The saga is still COMPENSATING.',
    BACK,
  ),
  allUndone: initiator('all-undone', 4, 'Every step is undone at its app. The saga is still COMPENSATING.', BACK),
  marked: initiator(
    'marked',
    5,
    'The saga is COMPLETED or COMPENSATED. No work is left.',
    'No work is left. A caller without an answer finds the outcome by its Idempotency-Key.',
  ),
  signalled: initiator(
    'signalled',
    2,
    'The signal is committed with the work of its sender. The saga has not taken it.',
    'The scan of any instance takes it: the saga is due at once if it waits, and otherwise finds it when it waits.',
  ),
  signalTaken: initiator(
    'signal-taken',
    2,
    'The signal is taken in one commit. Its refusal was not judged, and the next step was not called.',
    FORWARD,
  ),
  doInserted: participant(
    'do-inserted',
    2,
    'The app of the step has inserted its barrier row and not committed. Its disk holds nothing of the Do.',
    'The broker delivers the call again. If Undo was first, the barrier refuses the Do.',
  ),
  doCommitted: participant(
    'do-committed',
    2,
    'Barrier, result and business of the Do are committed at the app of the step. The answer was not sent.',
    'The broker or the saga repeats the call, and the barrier answers with the kept result.',
  ),
  undoCommitted: participant(
    'undo-committed',
    4,
    'Barrier and business of the Undo are committed at the app of the step. The answer was not sent.',
    'The broker or the saga repeats the call, and the barrier answers it as a repeat.',
  ),
};
