import type { Mutant } from '../../mutants/mutant.js';

/** Each copy is handled as if it were the first one, up to its row. */
export const forgetfulConsumer: Mutant = {
  name: 'forgetful-consumer',
  does: 'a copy of a message that this process has handled begins a transaction, whose insert finds the row',
  breaks:
    'it costs three round trips, and it ends a shared transaction, so a consumer that is behind falls further behind',
  foundBy: '',
  edits: [{ guard: 'inbox.recent', becomes: 'return undefined;' }],
};

/** The memory of a process counts as proof. */
export const trustedMemory: Mutant = {
  name: 'trusted-memory',
  does: 'a copy of a message that this process has handled is acked without a look at its row',
  breaks: 'after a failover of the database that has lost the row, the repeated message is never handled',
  foundBy: '',
  edits: [{ guard: 'inbox.recent-row', becomes: "return 'HANDLED';" }],
};
