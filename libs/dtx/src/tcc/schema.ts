import type { Migration } from '../core/database/schema.js';
import type { DurableRow, DurableTable } from '../core/durable/durable-table.js';

export type Decision = 'CONFIRM' | 'CANCEL';

/** `next_attempt_at` of a TRYING row is its deadline: the scan that finds it due is the deadline's scan. */
export const TCC: DurableTable = { name: 'dtx_tcc', columns: ['decision', 'reason', 'decided_at', 'traceparent'] };

/** A transaction that is not over. Its id is its gid. */
export type TccRow = DurableRow<{
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
];
