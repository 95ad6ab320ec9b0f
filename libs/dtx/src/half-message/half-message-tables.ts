import { msOf } from '../core/database/clock-sql.js';
import { addIndexOnce, hasColumn, type Migration, widenIndexOnce } from '../core/database/migrate.js';
import { consumersIn, type DurableRow, type DurableTable } from '../core/durable/durable-table.js';
import { SCHEME } from './failpoints.js';

/**
 * Verdicts, one row per half message. The first writer wins. The local transaction inserts COMMITTED. The check, or the
 * rollback of the local transaction, inserts ROLLED_BACK. COMMITTED becomes SENT, and DONE after the receipts of all
 * consumers. The sweeper resends open rows at `next_attempt_at`. DONE and ROLLED_BACK are final. SENT without
 * `next_attempt_at` is final as well, and comes from a version without receipts. See docs/states.md.
 */
export const HALF: DurableTable = {
  name: 'dtx_half',
  openStates: ['COMMITTED', 'SENT', 'PARKED'],
  finalState: `'DONE'`,
  endedAt: 'done_at',
  concurrencyKey: 'contract',
  columns: [
    'gid',
    'contract',
    'version',
    'payload',
    'consumers',
    'awaiting',
    'traceparent',
    'sent_at',
    `${msOf('created_at')} AS made_at_ms`,
  ],
  shown: {
    scheme: SCHEME,
    retryState: `'COMMITTED'`,
    columns: ['contract', 'version', 'awaiting', 'consumers', 'sent_at', 'done_at'],
    body: 'payload',
    what: (row) =>
      `half message ${row.contract} v${row.version} to ${String(row.awaiting ?? row.consumers).replaceAll(/^,|,$/g, '') || 'all its consumers'}`,
    moments: (row) => [
      [row.created_at, row.state === 'ROLLED_BACK' ? 'ruled ROLLED_BACK' : 'COMMITTED with the business'],
      [row.sent_at, 'first confirmed by the broker'],
      [row.done_at, 'settled by every consumer'],
    ],
    message: (row) => ({
      id: row.id,
      end: 'sender',
      consumers: consumersIn(row.consumers),
      awaiting: consumersIn(row.awaiting),
    }),
  },
};

/** Id of the row in `dtx_half_parked` that reports lost verdicts. It stays PARKED until an operator resolves it. */
export const VERDICTS_LOST = 'verdicts.lost';

/**
 * Prepared messages that no check could settle. PARKED waits for an operator, RECHECK is checked again after a retry, and
 * DONE is final. See docs/states.md.
 */
export const HALF_PARKED: DurableTable = {
  name: 'dtx_half_parked',
  columns: ['gid', 'message', 'last_error'],
  openStates: ['RECHECK', 'PARKED'],
  finalState: `'DONE'`,
  endedAt: 'settled_at',
  shown: {
    scheme: SCHEME,
    retryState: `'RECHECK'`,
    columns: ['settled_at'],
    body: 'message',
    what: (row) => (row.id === VERDICTS_LOST ? 'verdicts of half messages' : 'prepared message without a verdict'),
    moments: (row) => [
      [row.created_at, 'parked after its last check: outcome of the local transaction unknown'],
      [row.settled_at, 'settled'],
    ],
  },
};

/** Content of a prepared message and of a COMMITTED verdict. It suffices to publish the message. */
export interface HalfMessage {
  readonly id: string;
  readonly gid: string;
  readonly contract: string;
  readonly version: number;
  /** JSON. */
  readonly payload: string;
  /** Consumer names, separated by commas. */
  readonly consumers: string;
  readonly traceparent: string | null;
}

export type HalfRow = DurableRow<
  Omit<HalfMessage, 'id'> & {
    /** Consumers without a receipt, as `,a.b,c.d,`. Null in rows from a version without receipts. */
    awaiting: string | null;
    /** Time of the first publisher confirm. */
    sent_at?: Date | string | null;
    /** Time of the verdict by the database clock. Receivers derive the message's age from it. */
    made_at_ms: number | string;
  }
>;
export type ParkedRow = DurableRow<{ gid: string; message: string; last_error: string | null }>;

const ascii = (length: number) => `VARCHAR(${length}) CHARACTER SET ascii COLLATE ascii_bin`;

const durable = `
        state ${ascii(16)} NOT NULL,
        attempts INT NOT NULL DEFAULT 0,
        next_attempt_at DATETIME(3) NULL,
        claim_token CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL,
        last_error TEXT NULL,
        created_at DATETIME(3) NOT NULL,
        KEY due (next_attempt_at),
        KEY by_gid (gid)`;

export const halfMessageMigrations: Migration[] = [
  {
    version: 1,
    name: 'half messages: verdicts, and parked prepared messages',
    up: [
      `CREATE TABLE IF NOT EXISTS dtx_half (
        id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        gid ${ascii(64)} NOT NULL,
        contract ${ascii(100)} NOT NULL,
        version INT NOT NULL,
        payload MEDIUMTEXT NULL,
        consumers ${ascii(1000)} NOT NULL,
        traceparent ${ascii(55)} NULL,
        sent_at DATETIME(3) NULL,${durable}
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
      `CREATE TABLE IF NOT EXISTS dtx_half_parked (
        id ${ascii(64)} NOT NULL PRIMARY KEY,
        gid ${ascii(64)} NOT NULL,
        message MEDIUMTEXT NOT NULL,
        settled_at DATETIME(3) NULL,${durable}
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
    ],
  },
  {
    version: 2,
    name: 'half messages: finished rows by their age, and a mark that tells whether verdicts are missing',
    up: [
      ...['dtx_half', 'dtx_half_parked'].map((table) => addIndexOnce(table, 'by_age', 'created_at')),
      `CREATE TABLE IF NOT EXISTS dtx_half_mark (
        one TINYINT NOT NULL PRIMARY KEY,
        id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        created_at DATETIME(3) NOT NULL
      ) ENGINE=InnoDB`,
    ],
  },
  {
    version: 3,
    name: 'half messages: done by the receipts of their consumers',
    up: [
      {
        unless: hasColumn('dtx_half', 'awaiting'),
        sql: `ALTER TABLE dtx_half ADD COLUMN awaiting ${ascii(1000)} NULL, ADD COLUMN done_at DATETIME(3) NULL`,
      },
    ],
  },
  {
    version: 4,
    name: 'half messages: due rows by their contract; open rows are counted in the index',
    up: [
      widenIndexOnce('dtx_half', 'due', 'next_attempt_at, contract, state'),
      widenIndexOnce('dtx_half_parked', 'due', 'next_attempt_at, state'),
    ],
  },
  {
    version: 5,
    name: 'half messages: pages of one state in the order of their ids',
    up: ['dtx_half', 'dtx_half_parked'].map((table) => addIndexOnce(table, 'by_state', 'state')),
  },
];
