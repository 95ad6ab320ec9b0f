import { defineFailpoint, type Role } from '../core/failpoint.js';
import { defineScheme } from '../core/loaded-scheme-names.js';

export const SCHEME = defineScheme('tcc');

const point = (role: Role) => (name: string, step: number, disk: string, finisher: string) =>
  defineFailpoint({ name: `${SCHEME}.${name}`, scheme: SCHEME, step, role, disk, finisher });

const initiator = point('initiator');
const participant = point('participant');
const DEADLINE = 'The scan of any instance of the initiator cancels once the deadline has passed.';
const SECOND_PHASE = 'The scan of any instance of the initiator repeats the second phase once the lease has expired.';

/** Crash points of the initiator, in the order of the protocol, then those of a participant. */
export const failpoints = {
  registered: initiator(
    'registered',
    1,
    'The transaction (TRYING, with its deadline), all its branches and the Try of its own participant are committed at the initiator. No other Try was sent.',
    DEADLINE,
  ),
  tried: initiator(
    'tried',
    2,
    'Every Try is answered, and the reservations are committed at the participants. No decision exists.',
    DEADLINE,
  ),
  deciding: initiator(
    'deciding',
    3,
    'Every Try is answered. The decision and Confirm of the own participant are not committed. The transaction is TRYING.',
    DEADLINE,
  ),
  decided: initiator(
    'decided',
    3,
    'The decision (CONFIRMING or CANCELLING) is committed at the initiator, CONFIRMING with Confirm of its own participant. No other branch was called with it.',
    SECOND_PHASE,
  ),
  firstBranch: initiator(
    'first-branch',
    4,
    'The decision is committed, and at least one branch has applied it. Other branches may not have.',
    SECOND_PHASE,
  ),
  allBranches: initiator(
    'all-branches',
    4,
    'Every branch has applied the decision. The transaction is still CONFIRMING or CANCELLING at the initiator.',
    SECOND_PHASE,
  ),
  marked: initiator(
    'marked',
    4,
    'The transaction is CONFIRMED or CANCELLED at the initiator. No work is left.',
    'No work is left. A caller without an answer finds the outcome by its Idempotency-Key.',
  ),
  tryInserted: participant(
    'try-inserted',
    2,
    'The participant has inserted its barrier row and not committed. Its disk holds nothing of the Try.',
    'The broker delivers the call again. If Cancel was first, the barrier refuses the Try.',
  ),
  tryCommitted: participant(
    'try-committed',
    2,
    'Barrier and reservation of the Try are committed at the participant. The answer was not sent.',
    'The broker delivers the call again and the barrier answers it as a repeat, or the deadline cancels.',
  ),
  secondCommitted: participant(
    'second-committed',
    4,
    'Barrier and business of the Confirm or Cancel are committed at the participant. The answer was not sent.',
    'The broker or the initiator repeats the call, and the barrier answers it as a repeat.',
  ),
};
