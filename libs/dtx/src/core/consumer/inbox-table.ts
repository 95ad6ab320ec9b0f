import { msOf } from '../database/clock-sql.js';
import { addIndexOnce, hasColumn, type Migration, widenIndexOnce } from '../database/migrate.js';
import type { DurableTable } from '../durable/durable-table.js';

/**
 * Descriptor of `dtx_inbox`: one row per message and consumer (docs/states.md). HANDLED rows detect duplicates.
 * RETRYING rows wait for the retry loop, PARKED rows for an operator. The consumer is the concurrency key, so a handler
 * that hangs delays no other consumer.
 */
export const INBOX: DurableTable = {
  name: 'dtx_inbox',
  openStates: ['RETRYING', 'PARKED'],
  finalState: `'HANDLED'`,
  endedAt: 'settled_at',
  concurrencyKey: 'consumer',
  columns: [
    'message_id',
    'consumer',
    'gid',
    'scheme',
    'type',
    'body',
    'reply_to',
    'traceparent',
    'created_at',
    'settled_at',
    'before_ack',
    `${msOf('UTC_TIMESTAMP(3)')} - (${msOf('created_at')}) AS age_ms`,
  ],
  countsLostLeases: true,
  shown: {
    scheme: null,
    retryState: `'RETRYING'`,
    columns: ['type', 'consumer', 'outcome', 'settled_at', 'message_id'],
    body: 'body',
    what: (row) => `${row.type ?? 'message'} at ${row.consumer}`,
    moments: (row) => [
      [row.created_at, `received by ${row.consumer}`],
      [row.settled_at, row.outcome ? `settled: ${row.outcome}` : 'handled'],
    ],
    message: (row) => ({
      id: String(row.message_id),
      end: 'receiver',
      consumers: [String(row.consumer)],
      awaiting: [],
    }),
  },
};

/** The `outcome` of a row that the sender has inserted in place of the consumer, to withdraw the message. */
export const WITHDRAWN = 'cancelled by its sender';

export const inboxMigrations: Migration[] = [
  {
    version: 1,
    name: 'inbox: one row per message and consumer, written in the transaction of its effect',
    up: [
      `CREATE TABLE IF NOT EXISTS dtx_inbox (
        id VARCHAR(140) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        message_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        consumer VARCHAR(65) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        gid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
        scheme VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        type VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NULL,
        state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        outcome VARCHAR(64) NULL,
        attempts INT NOT NULL DEFAULT 0,
        next_attempt_at DATETIME(3) NULL,
        claim_token CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL,
        last_error TEXT NULL,
        body MEDIUMBLOB NULL,
        reply_to VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NULL,
        traceparent VARCHAR(55) CHARACTER SET ascii COLLATE ascii_bin NULL,
        created_at DATETIME(3) NOT NULL,
        settled_at DATETIME(3) NULL,
        KEY due (next_attempt_at),
        KEY by_gid (gid),
        KEY by_age (created_at)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
    ],
  },
  // During a rolling update, instances of the previous version insert the default 0. Such an instance also ends its
  // rows without a `@BeforeAck`.
  {
    version: 2,
    name: 'inbox: whether there is a step before the ack',
    up: [
      {
        unless: hasColumn('dtx_inbox', 'before_ack'),
        sql: 'ALTER TABLE dtx_inbox ADD COLUMN before_ack TINYINT NOT NULL DEFAULT 0',
      },
    ],
  },
  {
    version: 3,
    name: 'inbox: open rows are counted in the index',
    up: [widenIndexOnce('dtx_inbox', 'due', 'next_attempt_at, state, scheme')],
  },
  {
    version: 4,
    name: 'inbox: a claim passes over the rows of a full consumer in the index',
    up: [widenIndexOnce('dtx_inbox', 'due', 'next_attempt_at, consumer, state, scheme')],
  },
  // The scheme follows the id, so a page of one state and scheme is found in the index.
  {
    version: 5,
    name: 'inbox: pages of one state in the order of their ids',
    up: [addIndexOnce('dtx_inbox', 'by_state', 'state, id, scheme')],
  },
];
