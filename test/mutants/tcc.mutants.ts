import type { Mutant } from './mutant.js';

const BARRIER = 'tcc/barrier.js';
const ENDPOINT = 'tcc/endpoint.js';
const TRANSACTION = 'tcc/transaction.js';
const BRANCHES = 'tcc/branches.js';

const UNEXPLAINED = 'what calls that arrive in any order came to';

const ENTER = 'const passage = await this.enter(sql, key, call, participant);';
const INSERT = `return insertFirst(sql, 'dtx_tcc_barrier', { ...name, ...row, participant, created_at: NOW });`;

export const barrierOff: Mutant = {
  name: 'barrier-off',
  does: 'every call reaches the participant',
  breaks: 'a repeated Try freezes twice, a Try after its Cancel is never given back',
  foundBy: UNEXPLAINED,
  edits: [{ file: ENDPOINT, find: ENTER, replace: `const passage = { kind: 'run', data: { of: key.gid } };` }],
};

export const barrierApart: Mutant = {
  name: 'barrier-apart',
  does: 'the barrier is committed in a transaction of its own, before the business',
  breaks: 'a Try that was refused counts as done when it is repeated',
  foundBy: UNEXPLAINED,
  edits: [
    {
      file: ENDPOINT,
      find: ENTER,
      replace: 'const passage = await this.database.own.transaction((own) => this.enter(own, key, call, participant));',
    },
  ],
};

export const checkThenInsert: Mutant = {
  name: 'check-then-insert',
  does: 'the barrier looks first whether its row is there, and inserts it if it is not',
  breaks: 'of two calls at once both find nothing, and both have their effect',
  foundBy: UNEXPLAINED,
  edits: [
    {
      file: BARRIER,
      find: INSERT,
      replace: `return sql.query('SELECT 1 FROM dtx_tcc_barrier WHERE gid = ? AND branch = ? AND phase = ?', [gid, branch, row.phase])
        .then((rows) => rows.length > 0 ? false : sql.query('INSERT IGNORE INTO dtx_tcc_barrier (gid, branch, initiator, incarnation, phase, op, participant, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(3))', [gid, branch, initiator, incarnation, row.phase, row.op, participant]).then(() => true));`,
    },
  ],
};

export const cancelUnrecorded: Mutant = {
  name: 'cancel-unrecorded',
  does: 'a Cancel without a Try succeeds and leaves nothing in the place of the Try',
  breaks: 'the Try that comes after it is let through, and what it reserves is never given back',
  foundBy: UNEXPLAINED,
  edits: [
    {
      file: BARRIER,
      find: `const isUntried = await take(sql, key, 'try', 'cancel');`,
      replace: 'const isUntried = !ownRows(await rowsOf(sql, key), key).first;',
    },
  ],
};

export const confirmUntried: Mutant = {
  name: 'confirm-untried',
  does: 'a Confirm is let through whether or not there was a Try',
  breaks: 'what was never reserved is sold',
  foundBy: UNEXPLAINED,
  edits: [
    {
      file: BARRIER,
      find: `if (first?.op !== 'try')`,
      replace: `if (!first) return { kind: isFirst ? 'run' : 'repeat', data: { of: key.gid } };
        if (false)`,
    },
  ],
};

export const lateTryPasses: Mutant = {
  name: 'late-try-passes',
  does: 'a Try that comes after its Confirm passes for a repeat',
  breaks: 'another transaction under the name of one that is over is told of a success and has none',
  foundBy: UNEXPLAINED,
  edits: [{ file: BARRIER, find: '|| second ||', replace: `|| second?.op === 'cancel' ||` }],
};

export const gidOnly: Mutant = {
  name: 'gid-only',
  does: 'the barrier knows a transaction by its gid alone',
  breaks: 'of two initiators that use one gid, one is told of a success and has none',
  foundBy: 'effects of two transactions of one gid',
  edits: [
    {
      file: ENDPOINT,
      find: 'return { gid, branch, participant: contract.name, initiator, incarnation };',
      replace: 'return { gid, branch, participant: contract.name, initiator: UNKNOWN, incarnation: UNKNOWN };',
    },
  ],
};

export const neverClosed: Mutant = {
  name: 'never-closed',
  does: 'branches may join when define has returned',
  breaks: 'a branch that joins late is confirmed from memory, or stays reserved for ever',
  foundBy: 'a transaction that lacks a branch',
  edits: [
    { file: BRANCHES, find: `if (state !== 'open')`, replace: 'if (false)' },
    { file: BRANCHES, find: 'refuseThenable(define({ call }));', replace: 'define({ call });' },
  ],
};

export const placeOff: Mutant = {
  name: 'place-off',
  does: 'no key is left for instances of the version before to collide with',
  breaks: 'a Try and its Cancel that two versions take both have their way',
  foundBy: UNEXPLAINED,
  edits: [
    {
      file: 'tcc/tcc-tables.js',
      find: `,\n          ADD UNIQUE KEY one_in_place (gid, branch, phase, place)`,
      replace: '',
    },
  ],
};

export const casOff: Mutant = {
  name: 'cas-off',
  does: 'the caller writes its decision whatever the row says',
  breaks: 'the caller confirms what the deadline has cancelled',
  foundBy: 'what callers were told against what happened',
  edits: [
    {
      file: TRANSACTION,
      find: `AND state = 'TRYING'$`,
      replace: '$',
    },
    { file: TRANSACTION, find: `' AND deadline > UTC_TIMESTAMP(3)' : ''`, replace: `'' : ''` },
  ],
};

export const branchesLate: Mutant = {
  name: 'branches-late',
  does: 'the branches are written down when they have been tried',
  breaks: 'a crash in between leaves money frozen that no recovery knows of',
  foundBy: 'money that is still frozen',
  edits: [
    {
      file: TRANSACTION,
      find: `await sql.query('INSERT INTO dtx_tcc_branch`,
      replace: `if (false) await sql.query('INSERT INTO dtx_tcc_branch`,
    },
    {
      file: TRANSACTION,
      find: 'const refusal = (await this.tryAll(begun, endsAt)) ?? (calls.isIncomplete() ? INCOMPLETE : null);',
      replace: `const refusal = await this.tryAll(begun, endsAt);
        await this.database.own.query('INSERT INTO dtx_tcc_branch (gid, branch, participant, version, args) VALUES ?', [branches.map((one) => [gid, one.branch, one.participant, one.version, JSON.stringify(one.args)])]);`,
    },
  ],
};

export const appClock: Mutant = {
  name: 'app-clock',
  does: 'the deadline is told by the clock of the app',
  breaks: 'an app whose clock is slow sees every checkout time out',
  foundBy: 'a checkout by an app whose clock is slow',
  edits: [
    {
      file: TRANSACTION,
      find: 'const deadline = new SqlExpression(inFuture(run.timeoutMs));',
      replace: 'const deadline = new Date(Date.now() + run.timeoutMs);',
    },
  ],
};
