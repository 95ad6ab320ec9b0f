import { GUARDED } from './guard-edit.js';
import type { Mutant } from './mutant.js';

const ARRIVALS = 'calls that arrive in any order differ from the model';
const CONFIRMED_LATE = 'the caller confirms a transaction that the deadline has cancelled';
const TOLD = 'answers to callers against outcomes';

/** Every call takes the way of one whose place may be taken. */
const NO_DIRECT_WAY = { guard: 'tcc.direct', becomes: 'const direct = undefined;' };

export const barrierOff: Mutant = {
  name: 'barrier-off',
  does: 'every call reaches the participant',
  breaks: 'a repeated Try freezes twice, and a Try after its Cancel is never given back',
  foundBy: ARRIVALS,
  edits: [NO_DIRECT_WAY, { guard: 'tcc.enter', becomes: `const passage = { kind: 'run', data: { of: key.gid } };` }],
};

export const barrierApart: Mutant = {
  name: 'barrier-apart',
  does: 'the barrier is committed in a transaction of its own, before the business',
  breaks: 'a Try that was refused counts as done when it is repeated',
  foundBy: ARRIVALS,
  edits: [NO_DIRECT_WAY, { guard: 'tcc.barrier-joins', becomes: 'const joined = { tx, sql: this.database.own };' }],
};

export const checkThenInsert: Mutant = {
  name: 'check-then-insert',
  does: 'the barrier reads whether its row is there, and inserts it if it is not',
  breaks: 'of two simultaneous calls both find no row, and both have their effect',
  foundBy: ARRIVALS,
  edits: [
    NO_DIRECT_WAY,
    {
      guard: 'tcc.barrier-row',
      becomes: `const { gid, branch, initiator, incarnation, participant } = key;
        return sql.query('SELECT 1 FROM dtx_tcc_barrier WHERE gid = ? AND branch = ? AND phase = ?', [gid, branch, row.phase])
        .then((rows) => rows.length > 0 ? false : sql.query('INSERT IGNORE INTO dtx_tcc_barrier (gid, branch, initiator, incarnation, phase, op, participant, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(3))', [gid, branch, initiator, incarnation, row.phase, row.op, participant]).then(() => true));`,
    },
  ],
};

export const directIgnored: Mutant = {
  name: 'direct-ignored',
  does: 'the statement that travels with BEGIN does not fail if another call has the place',
  breaks: 'a repeated Try reserves twice, and a Try after its Cancel is never given back',
  foundBy: ARRIVALS,
  edits: [
    {
      guard: 'tcc.direct-entry',
      becomes: `${GUARDED} insert.statement = insert.statement.replace('INSERT', 'INSERT IGNORE');`,
    },
  ],
};

export const cancelUnrecorded: Mutant = {
  name: 'cancel-unrecorded',
  does: 'a Cancel without a Try (null compensation) succeeds and leaves no row in the place of the Try',
  breaks: 'a Try that comes later is let through, and its reservation is never given back',
  foundBy: ARRIVALS,
  edits: [{ guard: 'tcc.untried', becomes: 'const isUntried = !ownRows(await rowsOf(sql, key), key).first;' }],
};

export const confirmUntried: Mutant = {
  name: 'confirm-untried',
  does: 'a Confirm is let through even if there was no Try',
  breaks: 'goods that were never reserved are sold',
  foundBy: ARRIVALS,
  edits: [
    {
      guard: 'tcc.confirm-tried',
      becomes: `if (!first) return { kind: isFirst ? 'run' : 'repeat', data: { of: key.gid } };`,
    },
  ],
};

export const lateTryPasses: Mutant = {
  name: 'late-try-passes',
  does: 'a Try that comes after its Confirm passes for a repeat',
  breaks: 'another transaction under the gid of a finished one is told of a success and has none',
  foundBy: ARRIVALS,
  edits: [{ guard: 'tcc.late-try', swap: ['|| second ||', `|| second?.op === 'cancel' ||`] }],
};

export const triedOnce: Mutant = {
  name: 'tried-once',
  does: 'a Try is sent once, and its answer is awaited until the deadline',
  breaks: 'each transaction in flight is cancelled when a connection to RabbitMQ is lost',
  foundBy: 'outcome after a connection was lost during Try',
  edits: [{ guard: 'tcc.try-again', becomes: `if (call.phase === 'try') return sendFirst();` }],
};

export const gidOnly: Mutant = {
  name: 'gid-only',
  does: 'the barrier knows a transaction by its gid alone',
  breaks: 'of two initiators that use one gid, one is told of a success and has none',
  foundBy: 'effects of two transactions of one gid',
  edits: [{ guard: 'tcc.key', becomes: `initiator = incarnation = UNKNOWN; ${GUARDED}` }],
};

export const neverClosed: Mutant = {
  name: 'never-closed',
  does: 'branches may join after define has returned',
  breaks: 'a branch that joins late is confirmed from memory, or stays reserved for ever',
  foundBy: 'a transaction that lacks a branch',
  edits: [
    { guard: 'tcc.closed', condition: 'false' },
    { guard: 'tcc.define', becomes: 'define({ call });' },
  ],
};

export const placeOff: Mutant = {
  name: 'place-off',
  does: 'no unique key is left for instances of the version before to collide with',
  breaks: 'a Try and its Cancel that two versions take both have their effect',
  foundBy: ARRIVALS,
  edits: [{ guard: 'tcc.place', swap: ['ADD UNIQUE KEY one_in_place', 'ADD KEY one_in_place'] }],
};

export const anyState: Mutant = {
  name: 'any-state',
  does: 'the caller writes its decision over any state of the row',
  breaks: CONFIRMED_LATE,
  foundBy: TOLD,
  edits: [{ guard: 'tcc.compare-and-set', swap: [`AND state = 'TRYING'`, ''] }],
};

export const anyTime: Mutant = {
  name: 'any-time',
  does: 'the caller writes its decision after the deadline',
  breaks: CONFIRMED_LATE,
  foundBy: TOLD,
  edits: [{ guard: 'tcc.compare-and-set', swap: ['AND deadline > UTC_TIMESTAMP(3)', ''] }],
};

export const casOff: Mutant = {
  name: 'cas-off',
  does: 'the caller writes its decision over any state of the row, at any time',
  breaks: CONFIRMED_LATE,
  foundBy: TOLD,
  edits: [...anyState.edits, ...anyTime.edits],
};

export const confirmUndecided: Mutant = {
  name: 'confirm-undecided',
  does: 'Confirm in the transaction of the decision runs whether or not the decision was made',
  breaks: CONFIRMED_LATE,
  foundBy: TOLD,
  edits: [{ guard: 'tcc.decided-first', condition: 'false' }],
};

export const branchesLate: Mutant = {
  name: 'branches-late',
  does: 'the branches are written down after they have been tried',
  breaks: 'a crash in between leaves money frozen that no recovery knows of',
  foundBy: 'money that is still frozen',
  edits: [
    { guard: 'tcc.branch-rows', becomes: 'return [];' },
    {
      guard: 'tcc.tried',
      becomes: `${GUARDED}
        await this.database.own.query('INSERT INTO dtx_tcc_branch (gid, branch, participant, version, args) VALUES ?', [branches.map((one) => [gid, one.branch, one.participant, one.version, JSON.stringify(one.args)])]);`,
    },
  ],
};

export const appClock: Mutant = {
  name: 'app-clock',
  does: 'the deadline is taken from the clock of the app',
  breaks: 'an app whose clock is slow sees every checkout time out',
  foundBy: 'a checkout by an app whose clock is slow',
  edits: [{ guard: 'tcc.deadline', becomes: 'const deadline = new Date(Date.now() + run.timeoutMs);' }],
};
