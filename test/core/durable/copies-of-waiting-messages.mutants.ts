import type { Mutant } from '../../mutants/mutant.js';

/** A message whose wait is over is sent again, wherever its first copy is. */
export const impatientRelay: Mutant = {
  name: 'impatient-relay',
  does: 'a message without a receipt is sent again while it still waits in its queue, behind others',
  breaks: 'a consumer that is behind gets copies of all that it has not come to, and falls further behind',
  foundBy: '',
  edits: [{ guard: 'resend.behind', becomes: '' }],
};
