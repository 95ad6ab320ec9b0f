import { defineFailpoint, type Role } from '../core/failpoint.js';
import { defineScheme } from '../core/scheme.js';

export const SCHEME = defineScheme('tcc');

const point = (role: Role) => (name: string, step: number, disk: string, finisher: string) =>
  defineFailpoint({ name: `${SCHEME}.${name}`, scheme: SCHEME, step, role, disk, finisher });

const initiator = point('initiator');
const participant = point('participant');
const DEADLINE = 'The scan of any instance of the initiator cancels when the deadline has passed.';
const SECOND_PHASE = 'The scan of any instance of the initiator repeats the second phase when the lease has run out.';

/** Crash points of the initiator, in the order of the protocol, then of a participant. */
export const failpoints = {
  registered: initiator(
    'registered',
    1,
    'The transaction (TRYING, with its deadline) and all its branches are committed at the initiator; no Try was sent.',
    DEADLINE,
  ),
  tried: initiator(
    'tried',
    2,
    'Every Try has been answered, so what they reserved is committed at the participants; nothing is decided.',
    DEADLINE,
  ),
  decided: initiator(
    'decided',
    3,
    'The decision (CONFIRMING or CANCELLING) is committed at the initiator; no branch has heard of it.',
    SECOND_PHASE,
  ),
  firstBranch: initiator(
    'first-branch',
    4,
    'The decision is committed and at least one branch has carried it out; others may not have.',
    SECOND_PHASE,
  ),
  allBranches: initiator(
    'all-branches',
    4,
    'Every branch has carried the decision out; the transaction is still CONFIRMING or CANCELLING at the initiator.',
    SECOND_PHASE,
  ),
  marked: initiator(
    'marked',
    4,
    'The transaction is CONFIRMED or CANCELLED at the initiator: nothing is left to do.',
    'Nobody has to; a caller without an answer finds the outcome with its Idempotency-Key.',
  ),
  tryInserted: participant(
    'try-inserted',
    2,
    'The participant has inserted its barrier row but not committed: nothing of the Try is on its disk.',
    'The broker delivers the call again; should Cancel have come first, the Try is refused.',
  ),
  tryCommitted: participant(
    'try-committed',
    2,
    'Barrier and reservation of the Try are committed at the participant; it has not answered.',
    'The broker delivers the call again, which is a repeat and is answered; or the deadline cancels.',
  ),
  secondCommitted: participant(
    'second-committed',
    4,
    'Barrier and business of the Confirm or Cancel are committed at the participant; it has not answered.',
    'The broker delivers the call again, or the initiator repeats it: a repeat, which is answered.',
  ),
};
