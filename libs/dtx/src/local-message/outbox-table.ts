import { msOf } from '../core/database/clock-sql.js';
import { addIndexOnce, hasColumn, type Migration, widenIndexOnce } from '../core/database/migrate.js';
import { consumersIn, type DurableRow, type DurableTable, type TableRow } from '../core/durable/durable-table.js';
import { SCHEME } from './failpoints.js';
import { destinationOf } from './outbox-route.js';

/**
 * The outbox: SCHEDULED if it has a delay, PENDING, then SENT, then DONE or CANCELLED, or PARKED with an alert. See
 * docs/states.md. The concurrency key is
 * `awaiting`, so the backlog of a stopped consumer does not delay messages to other consumers.
 */
export const OUTBOX: DurableTable = {
  name: 'dtx_outbox',
  openStates: ['SCHEDULED', 'PENDING', 'SENT', 'PARKED'],
  finalState: `'DONE'`,
  endedAt: 'done_at',
  concurrencyKey: 'awaiting',
  delayed: { waiting: 'SCHEDULED', due: 'PENDING' },
  columns: [
    'gid',
    'contract',
    'version',
    'payload',
    'awaiting',
    'traceparent',
    'route',
    'sent_at',
    `${msOf('created_at')} AS made_at_ms`,
  ],
  shown: {
    scheme: SCHEME,
    retryState: `'PENDING'`,
    columns: ['contract', 'version', 'awaiting', 'consumers', 'route', 'sent_at', 'done_at', 'scheduled_at', 'name'],
    body: 'payload',
    what: (row) => {
      const named = row.name == null ? '' : ` (${row.name})`;
      const to = destinationOf({ route: row.route, awaiting: row.awaiting });
      return `${row.contract} v${row.version}${named} to ${to}`;
    },
    moments: (row) => [
      [row.scheduled_at, 'committed with the business, to be sent later'],
      [
        row.state === 'CANCELLED' ? null : row.created_at,
        row.scheduled_at == null ? 'committed with the business' : 'due',
      ],
      [row.sent_at, 'first confirmed by the broker'],
      [row.done_at, endOf(row)],
    ],
    committedAt: (row) => row.scheduled_at,
    message: (row) => {
      const awaiting = consumersIn(row.awaiting);
      // Rows of an earlier version have no list of all consumers.
      return { id: row.id, end: 'sender', consumers: row.consumers ? consumersIn(row.consumers) : awaiting, awaiting };
    },
  },
};

function endOf({ state, route }: TableRow): string {
  if (state === 'CANCELLED') return 'cancelled';
  return route == null ? 'settled by every consumer' : 'confirmed by the broker, without receipts';
}

/** An open message. `awaiting` lists the consumers without a receipt as `,a.b,c.d,`, and `,` is the empty list. */
export type OutboxRow = DurableRow<{
  gid: string;
  contract: string;
  version: number;
  payload: string;
  awaiting: string;
  /** All consumers of the contract, in the form of `awaiting`. Set on the fast path only, since the relay does not read it. */
  consumers?: string;
  traceparent: string | null;
  /** The destination without receipts, see `OutboxRoute`. */
  route: string | null;
  /** Time of the first publisher confirm. It is text if the app's DataSource sets `dateStrings`. Read it with `isoTime`. */
  sent_at?: Date | string | null;
  /**
   * Creation time in milliseconds since the epoch by the database clock, or the due time of a delayed message. Receivers
   * derive the message's age from it.
   */
  made_at_ms: number | string;
  /** Set on the fast path, where this process has just inserted the row and holds its lease. */
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
  {
    version: 4,
    name: 'outbox: pages of one state in the order of their ids',
    up: [addIndexOnce('dtx_outbox', 'by_state', 'state')],
  },
  {
    version: 5,
    name: 'outbox: destinations without receipts',
    up: [
      {
        unless: hasColumn('dtx_outbox', 'route'),
        sql: 'ALTER TABLE dtx_outbox ADD COLUMN route VARCHAR(2000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL',
      },
    ],
  },
  // Instances of the previous version insert NULL. `nest-dtx redrive` then asks for the consumer.
  {
    version: 6,
    name: 'outbox: all consumers of a message, for a redrive after its receipts',
    up: [
      {
        unless: hasColumn('dtx_outbox', 'consumers'),
        sql: 'ALTER TABLE dtx_outbox ADD COLUMN consumers VARCHAR(1000) CHARACTER SET ascii COLLATE ascii_bin NULL',
      },
    ],
  },
  // Instances of the previous version send such rows when they are due, and never read the new columns. Names have a
  // table of their own, so a message without a name has no index entry more.
  {
    version: 7,
    name: 'outbox: delayed messages and their names',
    up: [
      {
        unless: hasColumn('dtx_outbox', 'scheduled_at'),
        sql: 'ALTER TABLE dtx_outbox ADD COLUMN scheduled_at DATETIME(3) NULL',
      },
      {
        unless: hasColumn('dtx_outbox', 'name'),
        sql: 'ALTER TABLE dtx_outbox ADD COLUMN name VARCHAR(140) CHARACTER SET ascii COLLATE ascii_bin NULL',
      },
      `CREATE TABLE IF NOT EXISTS dtx_outbox_name (
        contract VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        name VARCHAR(140) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        message_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        PRIMARY KEY (contract, name)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
    ],
  },
];
