import type { Mutant } from '../../mutants/mutant.js';

/** A shared transaction takes a statement that may commit a part of it. Then its units run by themselves. */
export const partsRunAgain: Mutant = {
  name: 'parts-run-again',
  does: 'units of a shared transaction run by themselves after a part of it was committed',
  breaks: 'a message counts as handled although its handler has not run',
  foundBy: '',
  edits: [
    { guard: 'shared.opaque', becomes: '' },
    { guard: 'shared.in-part', becomes: 'const isInPart = false;' },
  ],
};

/** A unit may leave a nested transaction to the next one. */
export const leftNested: Mutant = {
  name: 'left-nested',
  does: 'a shared transaction goes on although a nested transaction of one unit is open',
  breaks: 'its late rollback undoes the work of the next unit',
  foundBy: '',
  edits: [
    { guard: 'shared.savepoint', becomes: '' },
    { guard: 'shared.late', becomes: '' },
  ],
};

/** A unit may change the session of the next one. */
export const inheritedSession: Mutant = {
  name: 'inherited-session',
  does: 'a shared transaction goes on in a session that one of its units has changed',
  breaks: 'a unit sees the session variables of another one',
  foundBy: '',
  edits: [{ guard: 'shared.session', becomes: '' }],
};

/** The units run in the context of the first one. */
export const sharedTrace: Mutant = {
  name: 'shared-trace',
  does: 'the units of a shared transaction run in one async context',
  breaks: 'a log line, a message and a query carry the gid or the tenant of another unit',
  foundBy: '',
  edits: [{ guard: 'shared.trace', becomes: 'const running = unit.run(tx, guard, its);' }],
};

/** A unit may go on after its end. */
export const lateStatement: Mutant = {
  name: 'late-statement',
  does: 'a shared transaction takes statements of a unit that has ended',
  breaks: 'its late rollback undoes the work of the next unit, and its late effect is committed',
  foundBy: '',
  edits: [{ guard: 'shared.late', becomes: '' }],
};

/** A unit may leave a savepoint behind. */
export const leftSavepoint: Mutant = {
  name: 'left-savepoint',
  does: 'a shared transaction keeps the savepoint of a unit for the next one',
  breaks: 'the next unit rolls the work of that unit back',
  foundBy: '',
  edits: [{ guard: 'shared.savepoint', becomes: '' }],
};

/** The connection may break with any error. */
export const onlyKnownErrors: Mutant = {
  name: 'only-known-errors',
  does: 'an error at COMMIT counts as lost only if its code is known for that',
  breaks: 'a committed call is done twice',
  foundBy: '',
  edits: [{ guard: 'transaction.commit-answer', becomes: '' }],
};

/** The calls of a service whose shared COMMIT got no answer. */
export const lostCommitRunsAgain: Mutant = {
  name: 'lost-commit-runs-again',
  does: 'a call whose shared COMMIT got no answer runs again, as a message that finds its row would',
  breaks: 'a committed call is done twice, and a committed half message is said to be rolled back',
  foundBy: '',
  edits: [{ guard: 'shared.unknown', becomes: 'const isUnknown = false;' }],
};
