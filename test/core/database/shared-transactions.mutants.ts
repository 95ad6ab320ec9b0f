import type { Mutant } from '../../mutants/mutant.js';

/** After a shared transaction that may be committed in part, each unit runs by itself. */
export const partsRunAgain: Mutant = {
  name: 'parts-run-again',
  does: 'units of a shared transaction run by themselves, also after a part of it was committed',
  breaks: 'a message counts as handled although its handler has not run',
  foundBy: '',
  edits: [{ guard: 'shared.in-part', becomes: 'const isInPart = false;' }],
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
  breaks: 'a log line and a message carry the gid of another unit',
  foundBy: '',
  edits: [{ guard: 'shared.trace', becomes: 'results.push(await unit.run(tx, guard, its));' }],
};
