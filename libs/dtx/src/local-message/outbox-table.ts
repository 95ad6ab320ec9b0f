import { msOf } from '../core/database/clock-sql.js';
import { addIndexOnce, type Migration, widenIndexOnce } from '../core/database/migrate.js';
import type { DurableRow, DurableTable } from '../core/durable/durable-table.js';
import { SCHEME } from './failpoints.js';

/** Messages that wait for the same consumers are a lane: the backlog of a dead consumer delays no other one's messages. */
export const OUTBOX: DurableTable = {
  name: 'dtx_outbox',
  openStates: ['PENDING', 'SENT', 'PARKED'],
  finalState: `'DONE'`,
  endedAt: 'done_at',
  lane: 'awaiting',
  columns: [
    'gid',
    'contract',
    'version',
    'payload',
    'awaiting',
    'traceparent',
    'sent_at',
    `${msOf('created_at')} AS made_at_ms`,
  ],
  shown: {
    scheme: SCHEME,
    retryState: `'PENDING'`,
    what: (row) => `${row.contract} v${row.version} to ${String(row.awaiting).slice(1, -1) || 'all its consumers'}`,
    moments: (row) => [
      [row.created_at, 'committed with the business'],
      [row.sent_at, 'confirmed by the broker for the first time'],
      [row.done_at, 'every consumer has settled it'],
    ],
  },
};

/** A message that is not done. `awaiting` lists the consumers without a receipt as `,a.b,c.d,`; `,` = none. */
export type OutboxRow = DurableRow<{
  gid: string;
  contract: string;
  version: number;
  payload: string;
  awaiting: string;
  traceparent: string | null;
  /** When it was sent first. Text where the app's DataSource has `dateStrings`: read it by `isoTime`. */
  sent_at?: Date | string | null;
  /** When the row was made, in milliseconds since the epoch by the database's clock: its receivers tell its age by it. */
  made_at_ms: number | string;
  /** Inserted by this process a moment ago, leased to it: the fast path. */
  fresh?: true;
}>;

export const outboxMigrations: Migration[] = [
  {
    version: 1,
    name: 'outbox: the local message table',
    up: [
      `CREATE TABLE IF NOT EXISTS dtx_outbox (
        id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        gid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        contract VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        version INT NOT NULL,
        payload MEDIUMTEXT NOT NULL,
        awaiting VARCHAR(1000) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        traceparent VARCHAR(55) CHARACTER SET ascii COLLATE ascii_bin NULL,
        state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        attempts INT NOT NULL DEFAULT 0,
        next_attempt_at DATETIME(3) NULL,
        claim_token CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL,
        last_error TEXT NULL,
        created_at DATETIME(3) NOT NULL,
        sent_at DATETIME(3) NULL,
        done_at DATETIME(3) NULL,
        KEY due (next_attempt_at),
        KEY by_gid (gid)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
    ],
  },
  { version: 2, name: 'outbox: finished rows by their age', up: [addIndexOnce('dtx_outbox', 'by_age', 'created_at')] },
  {
    version: 3,
    name: 'outbox: due rows by the consumers they wait for; open rows are counted in the index',
    up: [widenIndexOnce('dtx_outbox', 'due', 'next_attempt_at, awaiting, state')],
  },
];
