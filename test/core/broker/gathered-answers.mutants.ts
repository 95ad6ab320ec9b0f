import type { Mutant } from '../../mutants/mutant.js';

/** Several answers in one message for every caller. */
export const severalForEveryone: Mutant = {
  name: 'several-for-everyone',
  does: 'answers of one turn are gathered for a caller that reads one of a message',
  breaks: 'an initiator of the version before waits for answers that it has received',
  foundBy: '',
  edits: [{ guard: 'calls.several-answers', becomes: 'const sent = this.gathered.add(queue, callId, text);' }],
};
