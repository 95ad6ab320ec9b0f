import type { Mutant } from '../../mutants/mutant.js';

/** The library without the guard that keeps a transaction whole: a COMMIT by hand commits. */
export const UNGUARDED: Mutant = {
  name: 'unguarded',
  does: 'every statement is sent, and COMMIT is sent to any open transaction',
  breaks: 'a half of a unit is committed',
  foundBy: '',
  edits: [
    { guard: 'transaction.statement', condition: 'true' },
    {
      guard: 'transaction.watched',
      becomes: `if (this.protocol && !error && statementOf(text).kind === 'ends')
          this.over(this.protocol === 'commit' ? 'committed' : 'rolled back');`,
    },
    { guard: 'transaction.own-statement', becomes: '' },
    { guard: 'transaction.commit', becomes: `await this.tap.askTogether([...this.held.take(), { sql: 'COMMIT' }]);` },
  ],
};
