// Tables of XA: dtx_xa and dtx_xa_log beside the last resource, dtx_xa_witness in every branch database.
import { msOf } from '../core/database/clock-sql.js';
import { addIndexOnce, hasColumn, type Migration, widenIndexOnce } from '../core/database/migrate.js';
import type { DurableRow, DurableTable } from '../core/durable/durable-table.js';
import { SCHEME } from './failpoints.js';

export type Decision = 'COMMIT' | 'ROLLBACK';

/**
 * Id of the row that shows that `dtx_xa` is complete. A log that was emptied or swept by hand lacks it. The migration
 * adds it once to an older log. It sorts behind every other row, so older versions, which purge by id, leave it.
 */
export const SENTINEL = 'log~sentinel';
/** The gid of rows about the log itself. */
export const LOG_GID = 'xa-log';
/** Whether a row is about the log itself. */
export const isLogFault = (id: string): boolean => id.startsWith('log.');

export const XA: DurableTable = {
  name: 'dtx_xa',
  columns: [
    'gid',
    'gtrid',
    'branches',
    'decision',
    'before_done',
    'last_error',
    `${msOf('UTC_TIMESTAMP(3)')} - (${msOf('created_at')}) AS age_ms`,
  ],
  openStates: ['COMMITTING', 'ROLLING_BACK', 'PARKED'],
  finalState: `'DONE'`,
  endedAt: 'done_at',
  shown: {
    scheme: SCHEME,
    columns: ['branches', 'decision', 'decided_at', 'done_at'],
    // A decision is never reversed, so a retry continues it.
    retryState: `CASE decision WHEN 'COMMIT' THEN 'COMMITTING' WHEN 'ROLLBACK' THEN 'ROLLING_BACK' ELSE 'PARKED' END`,
    below: SENTINEL,
    what: (row) =>
      isLogFault(row.id)
        ? 'the decision log of XA'
        : `XA transaction over ${row.branches}, decision ${row.decision ?? 'unknown'}`,
    moments: (row) =>
      isLogFault(row.id)
        ? [[row.created_at, 'found']]
        : [
            [row.created_at, `begun on ${row.branches}`],
            [
              row.decided_at,
              row.decision ? `decided to ${row.decision}` : 'found prepared, without a decision in the log',
            ],
            [row.done_at, 'applied to every branch'],
          ],
  },
};

/**
 * A row of `dtx_xa`: a decision, and its progress. See docs/states.md. A null decision means an orphan that is older
 * than the log's memory.
 */
export type XaRow = DurableRow<{
  gid: string;
  gtrid: string;
  /** Names of the branch databases, for example `payment,inventory`. */
  branches: string;
  decision: Decision | null;
  /** 1 if the hook `xa.beforeDone` follows the commit. An instance without the hook must not mark the row DONE. */
  before_done?: number;
  /** The error of an earlier round. Missing in a row that this process has just made. */
  last_error?: string | null;
  /** Age of the transaction in milliseconds when the row was claimed, by the database's clock. Missing in a new row. */
  age_ms?: number | string;
}>;

/** Component name in `dtx_schema_version` of a branch database. */
export const WITNESS = 'dtx-xa-witness';

const ascii = (length: number) => `VARCHAR(${length}) CHARACTER SET ascii COLLATE ascii_bin`;

/**
 * Tables in the database of the last resource, which takes the decision. `dtx_xa` has one row per decided transaction
 * or fault of the log, written by the deciding process or recovery. The first migration makes the log id once. Branches
 * carry it, so two deployments on the same servers leave each other's branches alone.
 */
export const decisionMigrations: Migration[] = [
  {
    version: 1,
    name: 'XA: the decision log and its id',
    up: [
      `CREATE TABLE IF NOT EXISTS dtx_xa_log (
        one TINYINT NOT NULL PRIMARY KEY,
        log_id CHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        created_at DATETIME(3) NOT NULL
      ) ENGINE=InnoDB`,
      `INSERT IGNORE INTO dtx_xa_log (one, log_id, created_at) VALUES (1, ${newLogId()}, UTC_TIMESTAMP(3))`,
      `CREATE TABLE IF NOT EXISTS dtx_xa (
        id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        gid ${ascii(64)} NOT NULL,
        gtrid ${ascii(64)} NOT NULL,
        branches ${ascii(1000)} NOT NULL,
        decision ${ascii(8)} NULL,
        state ${ascii(16)} NOT NULL,
        attempts INT NOT NULL DEFAULT 0,
        next_attempt_at DATETIME(3) NULL,
        claim_token CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL,
        last_error TEXT NULL,
        created_at DATETIME(3) NOT NULL,
        decided_at DATETIME(3) NULL,
        done_at DATETIME(3) NULL,
        KEY due (next_attempt_at),
        KEY by_gid (gid)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
    ],
  },
  {
    version: 2,
    name: 'XA: the log knows where it is and that it is whole; finished decisions by their age',
    up: [
      {
        unless: hasColumn('dtx_xa_log', 'home'),
        sql: `ALTER TABLE dtx_xa_log ADD COLUMN home VARCHAR(700) NULL, ADD COLUMN deployment VARCHAR(64) NULL,
         ADD COLUMN whole_since DATETIME(3) NULL, ADD COLUMN trusted_from DATETIME(3) NULL`,
      },
      // Only for a log that never had a sentinel. An emptied log must stay without one if this migration runs again.
      `INSERT IGNORE INTO dtx_xa (id, gid, gtrid, branches, state, created_at)
       SELECT '${SENTINEL}', '${LOG_GID}', '', '-', 'DONE', UTC_TIMESTAMP(3) FROM dtx_xa_log WHERE whole_since IS NULL`,
      'UPDATE dtx_xa_log SET whole_since = UTC_TIMESTAMP(3) WHERE whole_since IS NULL',
      addIndexOnce('dtx_xa', 'by_age', 'created_at'),
    ],
  },
  {
    version: 3,
    name: 'XA: whether something follows the commit',
    up: [
      {
        unless: hasColumn('dtx_xa', 'before_done'),
        sql: 'ALTER TABLE dtx_xa ADD COLUMN before_done TINYINT NOT NULL DEFAULT 0',
      },
    ],
  },
  {
    version: 4,
    name: 'XA: open rows are counted in the index',
    up: [widenIndexOnce('dtx_xa', 'due', 'next_attempt_at, state')],
  },
  {
    version: 5,
    name: 'XA: pages of one state in the order of their ids',
    up: [addIndexOnce('dtx_xa', 'by_state', 'state')],
  },
];

/** SQL of a random log id. */
export function newLogId(): string {
  return `LEFT(SHA2(CONCAT_WS('/', UUID(), RAND(), NOW(6), CONNECTION_ID()), 256), 16)`;
}

/**
 * Tables in every branch database. A witness proves the outcome of a branch, since servers forget it. `who` is `branch`
 * (committed with the branch) or `recovery` (claimed by a rollback).
 */
export const witnessMigrations: Migration[] = [
  {
    version: 1,
    name: 'XA: witnesses of branches',
    up: [
      `CREATE TABLE IF NOT EXISTS dtx_xa_witness (
        gtrid ${ascii(64)} NOT NULL,
        branch ${ascii(64)} NOT NULL,
        who ${ascii(8)} NOT NULL,
        created_at DATETIME(3) NOT NULL,
        PRIMARY KEY (gtrid, branch)
      ) ENGINE=InnoDB`,
    ],
  },
];

/** The version of the witness table that this program writes to. */
export const WITNESS_VERSION = witnessMigrations.at(-1)!.version;
