import type { Mutant } from './mutant.js';

/** Delayed messages: when they are sent, and who takes part in their cancel. */
const TWO_EFFECTS = 'effects of a message that was withdrawn';
const NOT_DUE = 'effects of a message that is not due';

export const cancelWithoutPlace: Mutant = {
  name: 'cancel-without-place',
  does: 'a cancel takes no place in the inbox of the consumers',
  breaks: 'an order is paid, and its expiry in the queue is handled afterwards',
  foundBy: TWO_EFFECTS,
  edits: [{ guard: 'withdraw.inbox-place', becomes: `places.push({ id, place: 'inserted' });` }],
};

export const stepOfWithdrawn: Mutant = {
  name: 'step-of-withdrawn',
  does: 'a withdrawn message counts as handled at its consumer',
  breaks: 'the step before the ack runs for a message that its sender has withdrawn',
  foundBy: TWO_EFFECTS,
  edits: [{ guard: 'inbox.withdrawn', becomes: '' }],
};

export const cancelOfSent: Mutant = {
  name: 'cancel-of-sent',
  does: 'a cancel ends the row of a message that was sent',
  breaks: 'an order is paid, and its expiry in the queue is handled afterwards',
  foundBy: TWO_EFFECTS,
  // biome-ignore lint/suspicious/noTemplateCurlyInString: part of the template in the build
  edits: [{ guard: 'outbox.cancel-untouched', swap: ['AND ${UNTOUCHED}', ''] }],
};

export const claimsUndue: Mutant = {
  name: 'claims-undue',
  does: 'the claim takes rows without a look at their due time',
  breaks: 'a message with a delay of an hour is sent at once',
  foundBy: NOT_DUE,
  edits: [{ guard: 'claim.is-due', swap: ["'next_attempt_at <= UTC_TIMESTAMP(3)'", "'next_attempt_at IS NOT NULL'"] }],
};

export const looksAtUndue: Mutant = {
  name: 'looks-at-undue',
  does: 'the look before a claim finds rows that are not due',
  breaks: 'a message with a delay of an hour is sent at once',
  foundBy: NOT_DUE,
  edits: [{ guard: 'keyed-claim.look', swap: ['AND next_attempt_at <= UTC_TIMESTAMP(3)', ''] }],
};

export const neverWaits: Mutant = {
  name: 'never-waits',
  does: 'the scan takes rows without a look at their due time',
  breaks: 'a message with a delay of an hour is sent at once',
  foundBy: NOT_DUE,
  edits: [...claimsUndue.edits, ...looksAtUndue.edits],
};

export const sleepsOn: Mutant = {
  name: 'sleeps-on',
  does: 'the loop sleeps its interval although a delayed row comes due before',
  breaks: 'a message is late by up to an interval',
  foundBy: 'the message is handled when it is due',
  edits: [{ guard: 'loop.due-timer', becomes: '' }],
};
