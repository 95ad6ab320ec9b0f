import type { Mutant } from './mutant.js';

const TRANSACTION = 'xa/transaction.js';
const SETTLE = 'xa/in-doubt-branch.js';
const PRESUMING = 'xa/orphans.js';
const SESSION = 'xa/session.js';

const EFFECTS = 'what a purchase that was decided has come to in the three databases';
const HEURISTIC = 'state of a decision to commit whose branch is gone';
const LATE = 'a branch that comes after its rollback';
const ORPHANS = 'branches that nobody will ever end';
const NEXT = 'the purchase after one that was rolled back';
const HALF = 'what a transaction in which one statement has failed left behind';

export const logOff: Mutant = {
  name: 'log-off',
  does: 'the order commits without its row in the decision log',
  breaks: 'after a crash nobody knows that it was decided: the order stands, money and stock are rolled back',
  foundBy: EFFECTS,
  edits: [{ file: TRANSACTION, find: 'last.commitWith(sql, values)', replace: `last.commitWith('DO 0', [])` }],
};

export const decidedEarly: Mutant = {
  name: 'decided-early',
  does: 'it decides before the branches are prepared',
  breaks: 'after a crash in between the order stands, and the branches are gone',
  foundBy: EFFECTS,
  edits: [
    {
      file: TRANSACTION,
      find: 'await this.prepareAll(branches);',
      replace: 'await this.decide(begun); await this.prepareAll(branches);',
    },
    { file: TRANSACTION, find: 'await this.decide(begun);\n', replace: '\n' },
  ],
};

export const notaIsDone: Mutant = {
  name: 'nota-is-done',
  does: 'whatever XA COMMIT answers, the branch is taken for committed',
  breaks: 'a branch that was rolled back by hand, or is held by a stopped process, counts as done: nobody is told',
  foundBy: HEURISTIC,
  edits: [
    {
      file: SETTLE,
      find: `if (before !== 'held')
            return before === 'branch' ? 'done' : 'heuristic';`,
      replace: '',
    },
    {
      file: SETTLE,
      find: `if (who === 'held')
            return 'held';
        return who === 'branch'`,
      replace: `return 'done';
        return who === 'branch'`,
    },
  ],
};

const CLAIM_OFF = { file: SETTLE, find: 'await query(CLAIM_SQL, [gtrid, branch]);', replace: '' };
const SCAN_OFF = { file: PRESUMING, find: '(orphan) => this.presume(orphan)', replace: 'async () => {}' };

export const claimOff: Mutant = {
  name: 'claim-off',
  does: 'a rollback does not take the witness of the branch',
  breaks: 'a branch that was asleep while it was rolled back is prepared later, and locks its rows',
  foundBy: LATE,
  edits: [CLAIM_OFF],
};

export const scanOff: Mutant = {
  name: 'scan-off',
  does: 'nobody decides on branches that are prepared and past their deadline',
  breaks: 'what a dead process has prepared holds its locks for ever',
  foundBy: ORPHANS,
  edits: [SCAN_OFF],
};

export const claimAndScanOff: Mutant = {
  name: 'claim-and-scan-off',
  does: 'neither orphans are looked for nor witnesses claimed',
  breaks: 'the same, and a late branch joins them',
  foundBy: ORPHANS,
  edits: [CLAIM_OFF, SCAN_OFF],
};

export const pooledConnection: Mutant = {
  name: 'pooled-connection',
  does: 'a connection goes back to the pool whatever is still open on it',
  breaks: 'the next transaction gets a connection that refuses to begin, and the branch is never let go of',
  foundBy: NEXT,
  edits: [
    {
      file: SESSION,
      find: `given up'));\n        this.tap.connection.destroy();`,
      replace: `given up'));\n        this.tap.release();`,
    },
  ],
};

export const swallowed: Mutant = {
  name: 'swallowed-error',
  does: 'only an error that the work throws rolls back',
  breaks: 'after a lock wait that the work has swallowed the servers prepare the half that is left',
  foundBy: HALF,
  edits: [
    {
      file: TRANSACTION,
      find: 'const failed = participants.find(({ failure }) => failure !== undefined);',
      replace: 'const failed = undefined;',
    },
    { file: SESSION, find: 'everyErrorEnds: true', replace: 'everyErrorEnds: false' },
  ],
};
