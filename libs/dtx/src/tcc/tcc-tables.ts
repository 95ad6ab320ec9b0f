// Tables of TCC: dtx_tcc and dtx_tcc_branch at the initiator, dtx_tcc_barrier at each participant.
import { addIndexOnce, hasColumn, type Migration, widenIndexOnce } from '../core/database/migrate.js';
import type { Sql } from '../core/database/sql-executor.js';
import { isoTime } from '../core/durable/alerts.js';
import type { DurableRow, DurableTable, TableRow } from '../core/durable/durable-table.js';
import { SCHEME } from './failpoints.js';
import type { OwnAnswers } from './own-participant.js';

export type Decision = 'CONFIRM' | 'CANCEL';

/**
 * Transactions at the initiator, see docs/states.md. `next_attempt_at` of a TRYING row is its deadline, so the scan
 * that finds the row due cancels it.
 */
export const TCC: DurableTable = {
  name: 'dtx_tcc',
  columns: ['incarnation', 'decision', 'reason', 'decided_at', 'traceparent'],
  openStates: ['TRYING', 'CONFIRMING', 'CANCELLING', 'PARKED'],
  finalState: `IF(m.decision = 'CONFIRM', 'CONFIRMED', 'CANCELLED')`,
  endedAt: 'settled_at',
  shown: {
    scheme: SCHEME,
    columns: ['decision', 'reason', 'decided_at', 'settled_at'],
    tracedBy: 'id',
    // A decision is never reversed, so a retry continues it.
    retryState: `CASE decision WHEN 'CONFIRM' THEN 'CONFIRMING' WHEN 'CANCEL' THEN 'CANCELLING' ELSE 'TRYING' END`,
    what: (row) => `TCC transaction${row.reason ? `, ${row.reason}` : ''}`,
    moments: (row) => [
      [row.created_at, 'registered with all its branches'],
      [row.decided_at, `decided to ${row.decision}${row.reason ? ` (${row.reason})` : ''}`],
      [row.settled_at, 'applied by every branch'],
    ],
    details: async (sql, row) => ({ branches: await branchViews(sql, row) }),
  },
};

/** A row of `dtx_tcc` that is not settled. Its id is its gid. */
export type TccRow = DurableRow<{
  /** Null if the version before this column registered the transaction. */
  incarnation: string | null;
  decision: Decision | null;
  reason: string | null;
  /** Text if the app's DataSource has `dateStrings`. Read it with `isoTime`. */
  decided_at: Date | string | null;
  traceparent: string | null;
  /** Set only on the fast path, right after this process has decided. */
  branches?: readonly Branch[];
  /** Set only on the fast path: the answers of own participants whose call was part of the decision. */
  own?: OwnAnswers | undefined;
}>;

/** A call of a transaction, as the initiator stores it. */
export interface Branch {
  readonly branch: number;
  readonly participant: string;
  readonly version: number;
  readonly args: unknown;
}

/**
 * A column of `dtx_tcc_branch`. `stored` is its value at the registration, and NULL without it. `shown` is its name and
 * value in the answer of `/dtx`, which omits the column without it.
 */
interface BranchColumn {
  readonly name: string;
  readonly stored?: (branch: Branch, gid: string) => string | number;
  readonly shown?: readonly [key: string, value: (value: unknown) => unknown];
}

/**
 * Every column of `dtx_tcc_branch`. Its INSERT, its reads and `/dtx` follow this list. A new one needs a migration at the
 * end of `tccMigrations`, and a default or NULL, since instances of the version before do not write it. The name of a
 * stored column is also its field in `Branch`. `shown` columns are listed in docs/operations.md. No test lists them all.
 */
const BRANCH_COLUMNS: readonly BranchColumn[] = [
  { name: 'gid', stored: (_, gid) => gid },
  { name: 'branch', stored: ({ branch }) => branch, shown: ['branch', Number] },
  { name: 'participant', stored: ({ participant }) => participant, shown: ['participant', String] },
  { name: 'version', stored: ({ version }) => version, shown: ['version', Number] },
  // Business data, so `/dtx` does not show it.
  { name: 'args', stored: ({ args }) => JSON.stringify(args) },
  { name: 'done_at', shown: ['doneAt', (at) => isoTime(at)] },
];

const namesOf = (columns: readonly BranchColumn[], table = '') =>
  columns.map(({ name }) => `${table}${name}`).join(', ');
const STORED = BRANCH_COLUMNS.filter(({ stored }) => stored !== undefined);
const SHOWN = BRANCH_COLUMNS.filter(({ shown }) => shown !== undefined);

/** Takes rows of `branchRow`. */
export const INSERT_BRANCHES = `INSERT INTO dtx_tcc_branch (${namesOf(STORED)}) VALUES ?`;

export const branchRow = (gid: string, branch: Branch): Array<string | number> =>
  STORED.map(({ stored }) => stored!(branch, gid));

/** The columns that `storedBranch` reads, of `dtx_tcc_branch AS b`. */
export const BRANCH_READ = namesOf(STORED, 'b.');

export function storedBranch({ gid: _, ...row }: Branch & { readonly gid: string; readonly args: string }): Branch {
  return { ...row, branch: Number(row.branch), args: JSON.parse(row.args) };
}

/**
 * The branches of one transaction for `/dtx`. `TRYING`: not decided. `PENDING`: no record that the branch has applied
 * the decision. A complete round records the transaction only, so the branches of a settled one are `DONE`.
 */
async function branchViews(sql: Sql, { id, state, decision }: TableRow): Promise<object[]> {
  const rows: TableRow[] = await sql.query(
    `SELECT ${namesOf(SHOWN)} FROM dtx_tcc_branch WHERE gid = ? ORDER BY branch`,
    [id],
  );
  const isSettled = !TCC.openStates.includes(state);
  return rows.map((row) => ({
    ...Object.fromEntries(SHOWN.map(({ name, shown }) => [shown![0], shown![1](row[name])])),
    state: decision === null ? 'TRYING' : isSettled || row.done_at !== null ? 'DONE' : 'PENDING',
  }));
}

/**
 * The name of an unknown initiator or incarnation. The version before these columns writes it by their defaults. No app
 * and no incarnation has this name. The empty string would be NULL in a session with EMPTY_STRING_IS_NULL.
 */
export const UNKNOWN = '-';

const ascii = (length: number) => `VARCHAR(${length}) CHARACTER SET ascii COLLATE ascii_bin`;

export const tccMigrations: Migration[] = [
  {
    version: 1,
    name: 'TCC: transactions and branches of the initiator, barrier of the participant',
    up: [
      `CREATE TABLE IF NOT EXISTS dtx_tcc (
        id ${ascii(64)} NOT NULL PRIMARY KEY,
        gid ${ascii(64)} NOT NULL,
        state ${ascii(16)} NOT NULL,
        decision ${ascii(8)} NULL,
        reason VARCHAR(64) NULL,
        deadline DATETIME(3) NOT NULL,
        attempts INT NOT NULL DEFAULT 0,
        next_attempt_at DATETIME(3) NULL,
        claim_token CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL,
        last_error TEXT NULL,
        traceparent ${ascii(55)} NULL,
        created_at DATETIME(3) NOT NULL,
        decided_at DATETIME(3) NULL,
        settled_at DATETIME(3) NULL,
        KEY due (next_attempt_at),
        KEY by_age (created_at)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
      `CREATE TABLE IF NOT EXISTS dtx_tcc_branch (
        gid ${ascii(64)} NOT NULL,
        branch INT NOT NULL,
        participant ${ascii(65)} NOT NULL,
        version INT NOT NULL,
        args MEDIUMTEXT NOT NULL,
        done_at DATETIME(3) NULL,
        PRIMARY KEY (gid, branch)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
      `CREATE TABLE IF NOT EXISTS dtx_tcc_barrier (
        gid ${ascii(64)} NOT NULL,
        branch INT NOT NULL,
        phase ${ascii(8)} NOT NULL,
        op ${ascii(8)} NOT NULL,
        participant ${ascii(65)} NOT NULL,
        data MEDIUMTEXT NULL,
        created_at DATETIME(3) NOT NULL,
        PRIMARY KEY (gid, branch, phase),
        KEY by_age (created_at)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
    ],
  },
  /**
   * Names a transaction by initiator, gid and incarnation. Instances of the version before may run at the same time:
   * - They insert without the new columns. The defaults fill them in, and `incarnation` of dtx_tcc is NULL.
   * - They rely on a duplicate key for (gid, branch, phase). `place` keeps that: its default is 1, under a unique key,
   *   so one row of each (gid, branch, phase) has it, whichever version wrote it. A transaction whose gid another one
   *   has taken before stores NULL there, which no unique key compares. Only this version does so.
   * - They read by (gid, branch), so they find the rows of this version.
   *
   * One statement alters the barrier. Both servers undo it when it is interrupted, so the table always has one of the
   * two primary keys. Other sessions read and write during the rebuild. `place` and its key can go once no instance of
   * the version before runs.
   */
  {
    version: 2,
    name: 'TCC: a transaction is named by initiator, gid and incarnation',
    up: [
      {
        unless: hasColumn('dtx_tcc', 'incarnation'),
        sql: `ALTER TABLE dtx_tcc ADD COLUMN incarnation ${ascii(16)} NULL`,
      },
      {
        unless: hasColumn('dtx_tcc_barrier', 'incarnation'),
        // guard: tcc.place
        sql: `ALTER TABLE dtx_tcc_barrier
          ADD COLUMN initiator ${ascii(32)} NOT NULL DEFAULT '${UNKNOWN}',
          ADD COLUMN incarnation ${ascii(16)} NOT NULL DEFAULT '${UNKNOWN}',
          ADD COLUMN place TINYINT NULL DEFAULT 1,
          DROP PRIMARY KEY,
          ADD PRIMARY KEY (gid, branch, phase, initiator, incarnation),
          ADD UNIQUE KEY one_in_place (gid, branch, phase, place)`,
      },
    ],
  },
];

/** A component of its own, after the tables. The history of the tables ends with the meaning of their rows. */
export const tccIndexMigrations: Migration[] = [
  {
    version: 1,
    name: 'TCC: open rows are counted in the index',
    up: [widenIndexOnce('dtx_tcc', 'due', 'next_attempt_at, state')],
  },
  {
    version: 2,
    name: 'TCC: pages of one state in the order of their ids',
    up: [addIndexOnce('dtx_tcc', 'by_state', 'state')],
  },
];
