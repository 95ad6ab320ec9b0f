import { addIndexOnce, hasColumn, type Migration } from '../database/migrate.js';
import type { DurableTable } from './durable-table.js';

/**
 * Descriptor of `dtx_alert`: one row per incident (docs/states.md). PENDING until the webhook accepts it, then
 * DELIVERED. LOGGED without a webhook. A unique `open_key` allows one open alert per incident. `closes_by` says how the
 * alert closes, see `Incident`.
 */
export const ALERTS: DurableTable = {
  name: 'dtx_alert',
  columns: ['scheme', 'subject_id', 'gid', 'step', 'alert_error', 'closes_by'],
  openStates: ['PENDING'],
  finalState: `'DELIVERED'`,
};

export const alertMigrations: Migration[] = [
  {
    version: 1,
    name: 'alerts and the record of operator actions',
    up: [
      `CREATE TABLE IF NOT EXISTS dtx_alert (
        id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        open_key VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NULL,
        scheme VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        subject_id VARCHAR(160) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        gid VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
        step VARCHAR(200) NOT NULL,
        state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        attempts INT NOT NULL DEFAULT 0,
        next_attempt_at DATETIME(3) NULL,
        claim_token CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL,
        alert_error TEXT NULL,
        last_error TEXT NULL,
        opened_at DATETIME(3) NOT NULL,
        acknowledged_at DATETIME(3) NULL,
        closed_at DATETIME(3) NULL,
        UNIQUE KEY one_open_per_incident (open_key),
        KEY due (next_attempt_at),
        KEY by_subject (subject_id),
        KEY by_gid (gid)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
      `CREATE TABLE IF NOT EXISTS dtx_operation (
        id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        scheme VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        subject_id VARCHAR(160) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        action VARCHAR(32) NOT NULL,
        operator VARCHAR(64) NULL,
        note VARCHAR(1000) NULL,
        at DATETIME(3) NOT NULL,
        KEY by_subject (subject_id)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
    ],
  },
  // An instance of the version before inserts the default, and then its alert shows a retry call as before.
  {
    version: 2,
    name: 'alerts: how an alert closes. Open alerts in the order of their ids. Old rows by their age',
    up: [
      {
        unless: hasColumn('dtx_alert', 'closes_by'),
        sql: `ALTER TABLE dtx_alert ADD COLUMN closes_by VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL
          DEFAULT 'retry'`,
      },
      addIndexOnce('dtx_alert', 'by_closing', 'closed_at'),
      addIndexOnce('dtx_operation', 'by_age', 'at'),
    ],
  },
];
