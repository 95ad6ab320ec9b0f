import { addIndexOnce, type Migration, widenIndexOnce } from '../core/database/migrate.js';
import type { DurableRow, DurableTable } from '../core/durable/durable-table.js';
import { SCHEME } from './failpoints.js';

/**
 * Notifications: PENDING until the target answers 2xx (DELIVERED), PARKED after the last attempt, CLOSED by hand. See
 * docs/states.md. The concurrency key is `target_host`, so a slow target does not delay the others.
 */
export const NOTIFICATIONS: DurableTable = {
  name: 'dtx_notification',
  columns: ['gid', 'type', 'target', 'target_host', 'body', 'traceparent'],
  openStates: ['PENDING', 'PARKED'],
  finalState: `'DELIVERED'`,
  endedAt: 'settled_at',
  concurrencyKey: 'target_host',
  shown: {
    scheme: SCHEME,
    retryState: `'PENDING'`,
    columns: ['type', 'target_host', 'settled_at'],
    body: 'body',
    what: (row) => `${row.type} to ${row.target_host}`,
    moments: (row) => [
      [row.created_at, 'recorded by the notification service'],
      [row.settled_at, row.state === 'DELIVERED' ? `delivered to ${row.target_host}` : 'closed by hand'],
    ],
  },
};

/** An open notification. Its id is the event's id, and every call sends it as `webhook-id`. */
export type NotificationRow = DurableRow<{
  gid: string | null;
  type: string;
  /** Null if no target is named, the message is invalid or its body could not be stored. Such a row is inserted as PARKED. */
  target: string | null;
  target_host: string;
  body: string | null;
  traceparent: string | null;
  /** Set on the fast path, where this process has just recorded the row and holds its lease. */
  fresh?: true;
}>;

/** `target_host` of a row without a target, which a retry sends to the default target that the service has then. */
export const DEFAULT_TARGET_HOST = 'default-target';
export const NO_TARGET =
  'neither the notification nor `defaultTarget` of NotifyModule names a target; set it, then retry';

const ascii = (length: number) => `VARCHAR(${length}) CHARACTER SET ascii COLLATE ascii_bin`;

export const notifyMigrations: Migration[] = [
  {
    version: 1,
    name: 'notifications: one row per event, called until its target has taken it',
    up: [
      `CREATE TABLE IF NOT EXISTS dtx_notification (
        id ${ascii(64)} NOT NULL PRIMARY KEY,
        gid ${ascii(64)} NULL,
        type VARCHAR(100) NOT NULL,
        target VARCHAR(2048) NULL,
        target_host VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        body MEDIUMTEXT NULL,
        traceparent ${ascii(55)} NULL,
        state ${ascii(16)} NOT NULL,
        attempts INT NOT NULL DEFAULT 0,
        next_attempt_at DATETIME(3) NULL,
        claim_token CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL,
        last_error TEXT NULL,
        created_at DATETIME(3) NOT NULL,
        settled_at DATETIME(3) NULL,
        KEY due (next_attempt_at, target_host),
        KEY by_gid (gid),
        KEY by_age (created_at)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
    ],
  },
  {
    version: 2,
    name: 'notifications: open rows are counted in the index',
    up: [widenIndexOnce('dtx_notification', 'due', 'next_attempt_at, target_host, state')],
  },
  {
    version: 3,
    name: 'notifications: pages of one state in the order of their ids',
    up: [addIndexOnce('dtx_notification', 'by_state', 'state')],
  },
];
