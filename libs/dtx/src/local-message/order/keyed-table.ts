import { msOf } from '../../core/database/clock-sql.js';
import { hasColumn, type Migration } from '../../core/database/migrate.js';
import { consumersIn, type DurableTable } from '../../core/durable/durable-table.js';
import { SCHEME } from '../failpoints.js';
import type { OutboxRow } from '../outbox-table.js';

/**
 * Messages of contracts with `inOrderOf`: PENDING or WAITING, then SENT, then DONE. HELD waits for the operator of a
 * receiver, PARKED for one of this app. See docs/states.md.
 *
 * `stream_key` and `seq` are the place of a message, given under the lock of its row in `dtx_keyed_seq`. `open_key` is the
 * same key until the message lets its successors go, then NULL. So the index `in_order` has open messages only, and its
 * first entry of a key is the head. Only a head is sent. `released_at` is set when a message that has waited becomes
 * the head. It was never sent before, so receivers derive its age from this time. The table is separate from
 * `dtx_outbox`, so messages without a key pay no index entry, and instances of a version without this table cannot send
 * a message out of its order.
 */
export const KEYED: DurableTable = {
  name: 'dtx_keyed',
  openStates: ['PENDING', 'WAITING', 'SENT', 'HELD', 'PARKED'],
  finalState: `'DONE'`,
  endedAt: 'done_at',
  concurrencyKey: 'awaiting',
  columns: [
    'gid',
    'contract',
    'version',
    'payload',
    'awaiting',
    'traceparent',
    'stream_key',
    'open_key',
    'on_parked',
    'sent_at',
    `${msOf('COALESCE(released_at, created_at)')} AS made_at_ms`,
  ],
  shown: {
    scheme: SCHEME,
    retryState: `'PENDING'`,
    columns: [
      'contract',
      'version',
      'awaiting',
      'consumers',
      'stream_key',
      'open_key',
      'released_at',
      'sent_at',
      'done_at',
    ],
    body: 'payload',
    what: (row) =>
      `${row.contract} v${row.version} to ${String(row.awaiting).slice(1, -1) || 'all its consumers'} in order of ${row.stream_key}`,
    moments: (row) => [
      [row.created_at, 'committed with the business'],
      [row.released_at, 'released by its predecessor'],
      [row.sent_at, 'first confirmed by the broker'],
      [row.done_at, 'settled by every consumer'],
    ],
    details: async (sql, { stream_key, open_key }) => ({
      inOrderOf: stream_key,
      waitingBehind: await waitingBehind(sql, open_key as string | null),
    }),
    message: (row) => ({
      id: row.id,
      end: 'sender',
      consumers: consumersIn(row.consumers),
      awaiting: consumersIn(row.awaiting),
    }),
  },
};

/**
 * A HELD message is sent again this often, in milliseconds. Its receiver answers the copy with the outcome that it has. If
 * the receipt of an operator's retry was lost there, nothing else would tell it.
 */
export const HELD_LOOK_MS = 15 * 60_000;

/** The number of open messages of a key behind its head. */
export async function waitingBehind(sql: Reader, key: string | null): Promise<number> {
  if (key === null) return 0;
  const [row] = await sql.query<Array<{ n: number }>>('SELECT COUNT(*) AS n FROM dtx_keyed WHERE open_key = ?', [key]);
  return Math.max(0, Number(row!.n) - 1);
}

type Reader = { query<T>(sql: string, values: string[]): Promise<T> };

/** An open message with a key. */
export type KeyedRow = Omit<OutboxRow, 'route'> & {
  readonly stream_key: string;
  /** Null once its successors may be sent. */
  readonly open_key: string | null;
  readonly on_parked: 'wait' | 'pass';
  /** Set on a row that this process has claimed as the head of its key. */
  readonly isHead?: true;
};

/** The tables of messages with a key. They are empty in an app without `inOrderOf`. */
export const keyedMigrations: Migration[] = [
  {
    version: 1,
    name: 'messages in order of a key, and the last place of each key',
    up: [
      `CREATE TABLE IF NOT EXISTS dtx_keyed (
        id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        gid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        contract VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        version INT NOT NULL,
        payload MEDIUMTEXT NOT NULL,
        awaiting VARCHAR(1000) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        consumers VARCHAR(1000) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        parked_at VARCHAR(1000) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT ',',
        traceparent VARCHAR(55) CHARACTER SET ascii COLLATE ascii_bin NULL,
        stream_key VARCHAR(140) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        seq BIGINT NOT NULL,
        open_key VARCHAR(140) CHARACTER SET ascii COLLATE ascii_bin NULL,
        on_parked VARCHAR(4) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        attempts INT NOT NULL DEFAULT 0,
        next_attempt_at DATETIME(3) NULL,
        claim_token CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL,
        last_error TEXT NULL,
        created_at DATETIME(3) NOT NULL,
        sent_at DATETIME(3) NULL,
        done_at DATETIME(3) NULL,
        KEY due (next_attempt_at, awaiting, state),
        KEY in_order (open_key, seq),
        KEY by_gid (gid),
        KEY by_age (created_at),
        KEY by_state (state)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
      `CREATE TABLE IF NOT EXISTS dtx_keyed_seq (
        stream_key VARCHAR(140) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        seq BIGINT NOT NULL,
        used_at DATETIME(3) NOT NULL,
        KEY by_age (used_at)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
    ],
  },
  // Instances of the previous version leave it NULL, and give the time of the commit as the age.
  {
    version: 2,
    name: 'the time when a message that waited for its key may be sent',
    up: [
      {
        unless: hasColumn('dtx_keyed', 'released_at'),
        sql: 'ALTER TABLE dtx_keyed ADD COLUMN released_at DATETIME(3) NULL',
      },
    ],
  },
];
