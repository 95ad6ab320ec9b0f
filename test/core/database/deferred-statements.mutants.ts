import type { Edit } from '../../mutants/guard-edit.js';
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

const inFront: readonly Edit[] = [
  { guard: 'transaction.in-front', becomes: 'return true;' },
  { guard: 'transaction.line-ends', becomes: `const BETWEEN = '; ';` },
];

/** Every statement waits, in one line with those behind it. The answers are counted. */
export const anythingInFront: Mutant = {
  name: 'anything-in-front',
  does: 'a statement with a comment at its end is sent in front of others',
  breaks: 'the comment hides COMMIT, and the unit fails',
  foundBy: '',
  edits: inFront,
};

/** Every statement waits, and the answers to a packet are not counted either. */
export const hiddenCommit: Mutant = {
  name: 'hidden-commit',
  does: 'a statement with a comment at its end is sent in front of others, and their answers are not missed',
  breaks: 'the comment hides COMMIT, and the work is lost',
  foundBy: '',
  edits: [...inFront, { guard: 'transaction.all-answered', becomes: 'const isHidden = false;' }],
};

/** An effect outside of the transaction does not wait for the statements before it. */
export const unsentStatements: Mutant = {
  name: 'unsent-statements',
  does: 'the statements that wait are not sent before a message, and not when the code fails',
  breaks: 'a purchase is refused, or a message is sent, because of a change that has never happened',
  foundBy: '',
  edits: [{ guard: 'transaction.users-first', becomes: '' }],
};

/** A statement of the user has the time of one of the library. */
export const hurriedStatements: Mutant = {
  name: 'hurried-statements',
  does: 'the time limit of a library statement holds for a packet with statements of the user',
  breaks: 'work that takes longer is committed and reported as unknown',
  foundBy: '',
  edits: [{ guard: 'transaction.users-time', becomes: 'if (true) return limitMs;' }],
};

/** A packet may hold a statement of any size behind others. */
export const largePackets: Mutant = {
  name: 'large-packets',
  does: 'a large statement is sent behind those that wait',
  breaks: 'the packet is larger than the server takes',
  foundBy: '',
  edits: [{ guard: 'transaction.large-alone', becomes: 'const isLarge = () => false;' }],
};
