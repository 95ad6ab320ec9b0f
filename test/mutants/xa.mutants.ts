import { GUARDED } from './guard-edit.js';
import type { Mutant } from './mutant.js';

const EFFECTS = 'effects of a decided purchase in the three databases';
const HEURISTIC = 'state of a decision to commit whose branch is gone';
const LATE = 'a branch that is prepared after its rollback';
const ORPHANS = 'branches that no instance will ever end';
const NEXT = 'the purchase after one whose answer was lost';
const HALF = 'effects of a transaction in which one statement has failed';
const ORDER = 'a lock that comes before its turn';

export const logOff: Mutant = {
  name: 'log-off',
  does: 'the order commits without its row in the decision log',
  breaks: 'after a crash the decision is unknown: the order stands, money and stock are rolled back',
  foundBy: EFFECTS,
  edits: [{ guard: 'xa.log', becomes: `const { sql, values } = { sql: 'DO 0', values: [] };` }],
};

export const decidedEarly: Mutant = {
  name: 'decided-early',
  does: 'it decides before the branches are prepared',
  breaks: 'after a crash in between the order stands, and the branches are gone',
  foundBy: EFFECTS,
  edits: [
    { guard: 'xa.prepare', becomes: `await this.decide(begun); ${GUARDED}` },
    { guard: 'xa.decide', becomes: '' },
  ],
};

const UNSEEN =
  'a branch that was rolled back by hand, or is held by a stopped process, counts as done without an alert';

export const commitUntraced: Mutant = {
  name: 'commit-untraced',
  does: 'XA COMMIT is sent without a look for a trace of the branch',
  breaks: UNSEEN,
  foundBy: HEURISTIC,
  edits: [{ guard: 'xa.commit-trace', becomes: '' }],
};

export const commitUnwitnessed: Mutant = {
  name: 'commit-unwitnessed',
  does: 'the witness is not asked after XA COMMIT',
  breaks: UNSEEN,
  foundBy: HEURISTIC,
  edits: [{ guard: 'xa.commit-witness', becomes: `return 'done';` }],
};

export const notaIsDone: Mutant = {
  name: 'nota-is-done',
  does: 'every answer to XA COMMIT counts as a commit of the branch',
  breaks: UNSEEN,
  foundBy: HEURISTIC,
  edits: [...commitUntraced.edits, ...commitUnwitnessed.edits],
};

const CLAIM_OFF = { guard: 'xa.claim', becomes: '' };
const SCAN_OFF = { guard: 'xa.presume', becomes: '' };

export const claimOff: Mutant = {
  name: 'claim-off',
  does: 'a rollback does not take the witness of the branch',
  breaks: 'a branch that was asleep while it was rolled back is prepared later, and locks its rows',
  foundBy: LATE,
  edits: [CLAIM_OFF],
};

export const scanOff: Mutant = {
  name: 'scan-off',
  does: 'branches that are prepared and past their deadline are never decided',
  breaks: 'a branch that a dead process has prepared holds its locks for ever',
  foundBy: ORPHANS,
  edits: [SCAN_OFF],
};

export const claimAndScanOff: Mutant = {
  name: 'claim-and-scan-off',
  does: 'orphans are not searched for and witnesses are not claimed',
  breaks: 'the locks are held for ever, and a late branch adds its own',
  foundBy: ORPHANS,
  edits: [CLAIM_OFF, SCAN_OFF],
};

export const pooledConnection: Mutant = {
  name: 'pooled-connection',
  does: 'a connection goes back to the pool with a branch open on it',
  breaks: 'the next transaction gets a connection that refuses to begin, and the branch is never released',
  foundBy: NEXT,
  edits: [{ guard: 'xa.connection', becomes: 'this.tap.release();' }],
};

export const swallowed: Mutant = {
  name: 'swallowed-error',
  does: 'only an error that the work throws rolls back',
  breaks: 'after a lock wait that the work has swallowed the servers prepare the remaining half',
  foundBy: HALF,
  edits: [
    { guard: 'xa.failed-statement', becomes: '' },
    { guard: 'transaction.every-error', becomes: '' },
  ],
};

export const sentBefore: Mutant = {
  name: 'sent-before-waiting',
  does: 'a statement that is sent at once passes those that wait in other databases',
  breaks: 'transactions that lock in one order meet in a deadlock across servers, which only a lock wait ends',
  foundBy: ORDER,
  edits: [{ guard: 'xa.work-order', condition: 'false' }],
};

export const preparedTogether: Mutant = {
  name: 'prepared-together',
  does: 'branches are prepared in parallel although statements of the work wait in them',
  breaks: 'their rows are locked in any order, so transactions meet in a deadlock across servers',
  foundBy: ORDER,
  edits: [
    {
      guard: 'xa.prepare-in-turn',
      becomes: `const inTurn = async () => {
        await Promise.all(waiting.map(({ name }) => prepare(named.get(name))));
      };`,
    },
  ],
};

export const missStands: Mutant = {
  name: 'miss-stands',
  does: 'work behind a change that has missed does not run again',
  breaks: 'sold-out stock is answered with an error of the library, and never with its refusal',
  foundBy: 'what the work has seen',
  edits: [{ guard: 'xa.runs-again', condition: 'true' }],
};
