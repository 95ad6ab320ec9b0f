import type { Mutant } from './mutant.js';

const ARRIVALS = 'calls of a step that arrive in any order have other effects';
const BOTH_WAYS = 'effects of a purchase that ended';

export const doUnrecorded: Mutant = {
  name: 'do-unrecorded',
  does: 'a Do leaves no row in the barrier',
  breaks: 'its repeat has a second effect, and its Undo finds nothing to undo',
  foundBy: ARRIVALS,
  edits: [{ guard: 'saga.do-row', becomes: `return joined ? [joined] : [{ statement: 'DO 0', values: [] }];` }],
};

export const undoUnrecorded: Mutant = {
  name: 'undo-unrecorded',
  does: 'an Undo without a Do succeeds and leaves no row in the place of the Do',
  breaks: 'a Do that comes later is let through, and is never undone',
  foundBy: ARRIVALS,
  edits: [
    {
      guard: 'saga.undo-record',
      becomes: `if (!(await rowsOf(sql, key)).first) return { kind: 'skip' };`,
    },
  ],
};

export const undoAgain: Mutant = {
  name: 'undo-again',
  does: 'an Undo leaves no row of its own',
  breaks: 'its repeat puts the goods back twice',
  foundBy: ARRIVALS,
  edits: [{ guard: 'saga.undo-once', becomes: '' }],
};

export const refusalForgotten: Mutant = {
  name: 'refusal-forgotten',
  does: 'a refusal leaves no row in the barrier',
  breaks: 'a repeat of the refused Do has an effect while its saga is compensated',
  foundBy: 'effects of a Do that was refused',
  edits: [{ guard: 'saga.refusal', becomes: `return { kind: 'refused', reason: given };` }],
};

export const unfenced: Mutant = {
  name: 'unfenced',
  does: 'a pivot without an answer counts as one that has not run once the deadline has passed',
  breaks: 'the goods are put back although the money was taken',
  foundBy: BOTH_WAYS,
  edits: [{ guard: 'saga.fence', becomes: `const answer = { verdict: 'ok', isDone: false };` }],
};

export const unfencedByHand: Mutant = {
  name: 'unfenced-by-hand',
  does: 'a pivot that an operator has rejected counts as one that has not run, without a look at its app',
  breaks: 'the goods are put back although the money was taken',
  foundBy: BOTH_WAYS,
  edits: [{ guard: 'saga.fence-by-hand', becomes: `const answer = { verdict: 'ok', isDone: false };` }],
};

export const doneLost: Mutant = {
  name: 'done-lost',
  does: 'a fence that finds the pivot committed does not run its @Done',
  breaks: 'the captured money is never announced if the process died before',
  foundBy: 'runs of @Done',
  edits: [{ guard: 'saga.fence-done', condition: 'false' }],
};

export const cancelledAtPivot: Mutant = {
  name: 'cancelled-at-pivot',
  does: 'a cancel turns a saga that has reached its pivot',
  breaks: 'the caller is told of a cancel, and the money is taken',
  foundBy: BOTH_WAYS,
  edits: [{ guard: 'saga.too-late', condition: 'false' }],
};

export const pivotMarkedBlindly: Mutant = {
  name: 'pivot-marked-blindly',
  does: 'the mark before the pivot is written over any state of the row',
  breaks: 'the money of a cancelled purchase is taken',
  foundBy: BOTH_WAYS,
  edits: [
    {
      guard: 'saga.pivot-mark',
      swap: [`AND claim_token = ? AND state IN ('RUNNING', 'PIVOT') AND`, 'AND ? IS NOT NULL AND'],
    },
  ],
};

export const markUnfenced: Mutant = {
  name: 'mark-unfenced',
  does: 'the final mark is written by a process that has lost its claim',
  breaks: 'a cancelled saga is over although a step was not undone',
  foundBy: 'effects of a booking that was cancelled at its last step',
  edits: [{ guard: 'saga.final-mark', swap: ['m.claim_token = ? AND', '? IS NOT NULL AND'] }],
};

export const lastStepUnfenced: Mutant = {
  name: 'last-step-unfenced',
  does: 'a last step commits although the final mark in its transaction has changed no row',
  breaks: 'a caller is told that a cancelled saga is completed',
  foundBy: 'outcome of a stay that was cancelled before its last step',
  edits: [{ guard: 'saga.joined-mark', condition: 'false' }],
};

export const answeredOnly: Mutant = {
  name: 'answered-only',
  does: 'only steps that have answered are undone',
  breaks: 'the effect of a step whose answer was lost stays',
  foundBy: 'effects of a step without an answer',
  edits: [
    {
      guard: 'saga.may-have-run',
      becomes: 'const decided = await this.rows.decide(row, end.reason, end.through - 1);',
    },
  ],
};

export const undoneInOrder: Mutant = {
  name: 'undone-in-order',
  does: 'the steps are undone in the order in which they were done',
  breaks: 'a step is undone while a later one still builds on it',
  foundBy: 'order of the undone steps',
  edits: [
    {
      guard: 'saga.undo-order',
      swap: ['let step = last; step >= 0; step--', 'let step = 0; step <= last; step++'],
    },
  ],
};
