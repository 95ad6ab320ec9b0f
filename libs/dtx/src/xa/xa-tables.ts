import { msOf } from '../core/database/clock-sql.js';
import { addIndexOnce, hasColumn, type Migration, widenIndexOnce } from '../core/database/migrate.js';
import type { DurableRow, DurableTable } from '../core/durable/durable-table.js';
import { SCHEME } from './failpoints.js';

export type Decision = 'COMMIT' | 'ROLLBACK';

/**
 * The id of the row that says that `dtx_xa` is whole. A log that was emptied, or swept by hand, has lost it; one that was
 * made before there was such a row gets it once, by its migration. It sorts behind every other row, so that instances of
 * an older version, which purge by id, leave it.
 */
export const SENTINEL = 'log~sentinel';
/** The gid of the rows that are about the log itself. */
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
    // A decision is never reversed: a retry goes on with it.
    retryState: `CASE decision WHEN 'COMMIT' THEN 'COMMITTING' WHEN 'ROLLBACK' THEN 'ROLLING_BACK' ELSE 'PARKED' END`,
    below: SENTINEL,
    what: (row) =>
      isLogFault(row.id)
        ? 'the decision log of XA'
        : `XA transaction over ${row.branches}, decision ${row.decision ?? 'not known'}`,
    moments: (row) =>
      isLogFault(row.id)
        ? [[row.created_at, 'found']]
        : [
            [row.created_at, `begun on ${row.branches}`],
            [
              row.decided_at,
              row.decision ? `decided to ${row.decision}` : 'found prepared, with no decision that is remembered',
            ],
            [row.done_at, 'carried out at every branch'],
          ],
  },
};

/** A decision that is not carried out. No decision: a branch that is older than what the log remembers. */
export type XaRow = DurableRow<{
  gid: string;
  gtrid: string;
  /** Names of the databases that take part as branches, as `payment,inventory`. */
  branches: string;
  decision: Decision | null;
  /** 1 when something follows its commit (`xa.beforeDone`): whoever has no such hook must not call it DONE. */
  before_done?: number;
  /** What was wrong in an earlier round; a row that was made by this process just now has none. */
  last_error?: string | null;
  /** Since its transaction began, by the database's clock, when it was claimed; unknown of one made just now. */
  age_ms?: number | string;
}>;

/** The component's name in `dtx_schema_version` of a database that takes part as a branch. */
export const WITNESS = 'dtx-xa-witness';

const ascii = (length: number) => `VARCHAR(${length}) CHARACTER SET ascii COLLATE ascii_bin`;

/**
 * In the database that takes the decision, which is one of the participants: the last resource. The log's own id is
 * made here, once: branches carry it, so that two deployments on the same servers leave each other's alone.
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
      // Only a log that has never had one: should this run again on a log that was emptied since, it stays without.
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
];

/** A random log id, as SQL. */
export function newLogId(): string {
  return `LEFT(SHA2(CONCAT_WS('/', UUID(), RAND(), NOW(6), CONNECTION_ID()), 256), 16)`;
}

/** In every database that takes part as a branch: proof of what became of it, since the server forgets what it was told. */
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
