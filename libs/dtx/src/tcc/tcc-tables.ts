import { hasColumn, type Migration, widenIndexOnce } from '../core/database/migrate.js';
import type { DurableRow, DurableTable } from '../core/durable/durable-table.js';
import { SCHEME } from './failpoints.js';

export type Decision = 'CONFIRM' | 'CANCEL';

/** `next_attempt_at` of a TRYING row is its deadline: the scan that finds it due is the deadline's scan. */
export const TCC: DurableTable = {
  name: 'dtx_tcc',
  columns: ['incarnation', 'decision', 'reason', 'decided_at', 'traceparent'],
  openStates: ['TRYING', 'CONFIRMING', 'CANCELLING', 'PARKED'],
  finalState: `IF(m.decision = 'CONFIRM', 'CONFIRMED', 'CANCELLED')`,
  endedAt: 'settled_at',
  shown: {
    scheme: SCHEME,
    // A decision is never reversed: a retry goes on with it.
    retryState: `CASE decision WHEN 'CONFIRM' THEN 'CONFIRMING' WHEN 'CANCEL' THEN 'CANCELLING' ELSE 'TRYING' END`,
    what: (row) => `TCC transaction${row.reason ? `, ${row.reason}` : ''}`,
    moments: (row) => [
      [row.created_at, 'registered with all its branches'],
      [row.decided_at, `decided to ${row.decision}${row.reason ? ` (${row.reason})` : ''}`],
      [row.settled_at, 'carried out by every branch'],
    ],
  },
};

/** A transaction that is not over. Its id is its gid. */
export type TccRow = DurableRow<{
  /** Null for a transaction that was registered by the version before this column. */
  incarnation: string | null;
  decision: Decision | null;
  reason: string | null;
  /** Text where the app's DataSource has `dateStrings`: read it by `isoTime`. */
  decided_at: Date | string | null;
  traceparent: string | null;
  /** Decided by this process a moment ago, leased to it: the fast path has the branches at hand. */
  branches?: readonly Branch[];
}>;

/** A call of a transaction, as the initiator stores it. */
export interface Branch {
  readonly branch: number;
  readonly participant: string;
  readonly version: number;
  readonly args: unknown;
}

/**
 * What the barrier knows of a caller that does not say more. The version before `initiator` and `incarnation` writes it
 * by the columns' defaults. No app and no incarnation has this name. The empty string would be NULL in a session with
 * EMPTY_STRING_IS_NULL.
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
   * Names a transaction by all that makes it one. Safe beside instances of the version before, for as long as they run:
   * - They insert without the new columns. The defaults fill them in, and `incarnation` of dtx_tcc is NULL then.
   * - They count on a duplicate key for (gid, branch, phase). `place` keeps that: its default is 1, under a unique key, so
   *   one row of each (gid, branch, phase) has it, whichever version has written it. A transaction whose gid another one
   *   has taken before stores NULL there, which no unique key compares. Only this version does so.
   * - They read by (gid, branch), so they find the rows of this version.
   * The barrier is altered by one statement, which both servers undo when it is interrupted: the table has one of the
   * two primary keys at any time, never none. The rebuild lets others read and write. `place` and its key can go once no
   * instance of the version before is left.
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

/** A component of its own, after the tables: the history of the tables ends with what their rows mean. */
export const tccIndexMigrations: Migration[] = [
  {
    version: 1,
    name: 'TCC: open rows are counted in the index',
    up: [widenIndexOnce('dtx_tcc', 'due', 'next_attempt_at, state')],
  },
];
