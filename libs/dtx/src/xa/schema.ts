import type { Migration } from '../core/database/schema.js';
import type { DurableRow, DurableTable } from '../core/durable/durable-table.js';

export type Decision = 'COMMIT' | 'ROLLBACK';

export const XA: DurableTable = { name: 'dtx_xa', columns: ['gid', 'gtrid', 'branches', 'decision'] };

/** A decision that is not carried out. No decision: a branch that is older than what the log remembers. */
export type XaRow = DurableRow<{
  gid: string;
  gtrid: string;
  /** Names of the databases that take part as branches, as `payment,inventory`. */
  branches: string;
  decision: Decision | null;
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
      `INSERT IGNORE INTO dtx_xa_log (one, log_id, created_at)
       VALUES (1, LEFT(SHA2(CONCAT_WS('/', UUID(), RAND(), NOW(6), CONNECTION_ID()), 256), 16), UTC_TIMESTAMP(3))`,
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
];

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
