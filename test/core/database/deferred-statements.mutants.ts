import type { Mutant } from '../../mutants/mutant.js';

/** The row that waits is sent before the server has confirmed the transaction. */
export const deferredBeforeTheCheck: Mutant = {
  name: 'deferred-before-the-check',
  does: 'the savepoint is released behind the statements that waited, right before COMMIT',
  breaks: 'a row commits alone in a session whose transaction has ended',
  foundBy: '',
  edits: [
    {
      guard: 'transaction.check-first',
      becomes: `const all = [...before, ...statements.slice(0, -1), { sql: 'RELEASE SAVEPOINT dtx_begun' }, ...statements.slice(-1)];`,
    },
  ],
};

/** The error of a row that waited is an error of the user's statement, and no more. */
export const swallowedByUsers: Mutant = {
  name: 'deferred-swallowed',
  does: 'the failure of a statement that waited does not end the transaction',
  breaks: 'the business commits without its message',
  foundBy: '',
  edits: [{ guard: 'transaction.held-failed', becomes: '' }],
};

/** The server does not check the promise to the code. */
export const uncheckedChange: Mutant = {
  name: 'unchecked-change',
  does: 'a change that waits is taken for one row without a check',
  breaks: 'a sale commits although the stock was not taken',
  foundBy: '',
  edits: [{ guard: 'transaction.changed-one', becomes: `return { sql: 'DO 0', explain };` }],
};

/** Every plain statement waits. */
export const anythingInFront: Mutant = {
  name: 'anything-in-front',
  does: 'a statement with a comment at its end is sent in front of others',
  breaks: 'the comment hides COMMIT, and the work is lost',
  foundBy: '',
  edits: [{ guard: 'transaction.in-front', becomes: "return statementOf(text).kind === 'plain';" }],
};
