// Tables of sagas: dtx_saga, dtx_saga_step, dtx_saga_signal and dtx_saga_definition at the initiator, dtx_saga_barrier at
// each app that carries out steps.
import { hasColumn, type Migration } from '../core/database/migrate.js';
import type { Sql } from '../core/database/sql-executor.js';
import { isoTime } from '../core/durable/alerts.js';
import type { DurableRow, DurableTable, TableRow } from '../core/durable/durable-table.js';
import { SCHEME } from './scheme-name.js';

/** The direction of a saga once it is decided. Null: on the way to the pivot, or to the end without one. */
export type Direction = 'PIVOT' | 'FORWARD' | 'COMPENSATING';

/**
 * Sagas at the initiator, see docs/states.md. `step` is how far the saga was at the last write: the index of the group to
 * go on with, or of the last group to undo. `waiting_since` is set while the saga waits for a signal, and
 * `next_attempt_at` is then the time limit of the wait.
 */
export const SAGA: DurableTable = {
  name: 'dtx_saga',
  columns: [
    'incarnation',
    'saga',
    'version',
    'fingerprint',
    'direction',
    'input',
    'results',
    'step',
    'reason',
    'deadline',
    'waiting_since',
    'decided_at',
    'reached_at',
    'created_at',
    'traceparent',
  ],
  openStates: ['RUNNING', 'PIVOT', 'FORWARD', 'COMPENSATING', 'PARKED'],
  finalState: `IF(m.direction = 'COMPENSATING', 'COMPENSATED', 'COMPLETED')`,
  endedAt: 'settled_at',
  shown: {
    scheme: SCHEME,
    columns: ['saga', 'version', 'reason', 'direction', 'waiting_since', 'decided_at', 'settled_at'],
    tracedBy: 'id',
    body: 'input',
    retryState: `COALESCE(direction, 'RUNNING')`,
    what: (row) => `saga ${row.saga} v${row.version}${row.reason ? `, ${row.reason}` : ''}`,
    moments: (row) => [
      [row.created_at, 'started'],
      [row.waiting_since, 'waits for a signal'],
      [row.decided_at, decisionOf(row)],
      [row.settled_at, row.direction === 'COMPENSATING' ? 'every step undone' : 'every step done'],
    ],
    details: async (sql, row) => ({ steps: await stepViews(sql, row), signals: await signalViews(sql, row) }),
  },
};

function decisionOf({ direction, reason }: TableRow): string {
  return direction === 'COMPENSATING' ? `decided to compensate (${reason})` : 'reached the pivot';
}

/** A row of `dtx_saga` that is not over. Its id is its gid. */
export type SagaRow = DurableRow<{
  readonly incarnation: string;
  readonly saga: string;
  readonly version: number;
  /** Of the definition that the saga began with. Null: begun by an earlier version of the library. */
  readonly fingerprint: string | null;
  readonly direction: Direction | null;
  readonly input: string;
  readonly results: string | null;
  readonly step: number;
  readonly reason: string | null;
  /** Times may be text, if the app's DataSource has `dateStrings`. Read them with `isoTime`. */
  readonly deadline: Date | string;
  readonly waiting_since: Date | string | null;
  readonly decided_at: Date | string | null;
  readonly reached_at: Date | string;
  readonly created_at: Date | string;
  readonly traceparent: string | null;
  /** True only in the process that started the saga, as long as no other one has claimed it. */
  readonly isFirstRun?: boolean;
}>;

/** The steps with a record, which are those that failed. Business data is not shown. */
async function stepViews(sql: Sql, { id }: TableRow): Promise<object[]> {
  const rows: TableRow[] = await sql.query(
    'SELECT step, done_at, undone_at, attempts, undo_attempts, last_error FROM dtx_saga_step WHERE gid = ? ORDER BY step',
    [id],
  );
  return rows.map((row) => ({
    step: row.step,
    doneAt: isoTime(row.done_at),
    undoneAt: isoTime(row.undone_at),
    attempts: Number(row.attempts),
    undoAttempts: Number(row.undo_attempts),
    lastError: row.last_error,
  }));
}

async function signalViews(sql: Sql, { id }: TableRow): Promise<object[]> {
  const rows: TableRow[] = await sql.query(
    'SELECT name, signal_id, created_at, taken_at FROM dtx_saga_signal WHERE gid = ? ORDER BY created_at, signal_id',
    [id],
  );
  return rows.map((row) => ({
    signal: row.name,
    id: row.signal_id,
    at: isoTime(row.created_at),
    takenAt: isoTime(row.taken_at),
  }));
}

const FINGERPRINT = 'CHAR(64) CHARACTER SET ascii COLLATE ascii_bin';
const ascii = (length: number) => `VARCHAR(${length}) CHARACTER SET ascii COLLATE ascii_bin`;

export const sagaMigrations: Migration[] = [
  {
    version: 1,
    name: 'saga: sagas, steps, signals and definitions of the initiator, barrier of the steps',
    up: [
      `CREATE TABLE IF NOT EXISTS dtx_saga (
        id ${ascii(64)} NOT NULL PRIMARY KEY,
        gid ${ascii(64)} NOT NULL,
        incarnation ${ascii(16)} NOT NULL,
        saga ${ascii(65)} NOT NULL,
        version INT NOT NULL,
        state ${ascii(16)} NOT NULL,
        direction ${ascii(16)} NULL,
        input MEDIUMTEXT NOT NULL,
        results MEDIUMTEXT NULL,
        step INT NOT NULL DEFAULT 0,
        reason VARCHAR(64) NULL,
        deadline DATETIME(3) NOT NULL,
        waiting_since DATETIME(3) NULL,
        attempts INT NOT NULL DEFAULT 0,
        next_attempt_at DATETIME(3) NULL,
        claim_token CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NULL,
        last_error TEXT NULL,
        traceparent ${ascii(55)} NULL,
        created_at DATETIME(3) NOT NULL,
        reached_at DATETIME(3) NOT NULL,
        decided_at DATETIME(3) NULL,
        settled_at DATETIME(3) NULL,
        KEY due (next_attempt_at, state),
        KEY by_age (created_at),
        KEY by_state (state)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
      `CREATE TABLE IF NOT EXISTS dtx_saga_step (
        gid ${ascii(64)} NOT NULL,
        step ${ascii(65)} NOT NULL,
        done_at DATETIME(3) NULL,
        undone_at DATETIME(3) NULL,
        attempts INT NOT NULL DEFAULT 0,
        undo_attempts INT NOT NULL DEFAULT 0,
        last_error TEXT NULL,
        PRIMARY KEY (gid, step)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
      `CREATE TABLE IF NOT EXISTS dtx_saga_signal (
        gid ${ascii(64)} NOT NULL,
        name ${ascii(32)} NOT NULL,
        signal_id ${ascii(64)} NOT NULL,
        payload MEDIUMTEXT NOT NULL,
        created_at DATETIME(3) NOT NULL,
        taken_at DATETIME(3) NULL,
        PRIMARY KEY (gid, name, signal_id)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
      `CREATE TABLE IF NOT EXISTS dtx_saga_definition (
        name ${ascii(65)} NOT NULL,
        version INT NOT NULL,
        fingerprint ${FINGERPRINT} NOT NULL,
        recorded_at DATETIME(3) NOT NULL,
        PRIMARY KEY (name, version)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
      `CREATE TABLE IF NOT EXISTS dtx_saga_barrier (
        gid ${ascii(64)} NOT NULL,
        step ${ascii(65)} NOT NULL,
        phase ${ascii(8)} NOT NULL,
        initiator ${ascii(32)} NOT NULL,
        incarnation ${ascii(16)} NOT NULL,
        op ${ascii(8)} NOT NULL,
        args MEDIUMTEXT NULL,
        result MEDIUMTEXT NULL,
        reason VARCHAR(64) NULL,
        created_at DATETIME(3) NOT NULL,
        PRIMARY KEY (gid, step, phase, initiator, incarnation),
        KEY by_age (created_at)
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
    ],
  },
  // Instances of the previous version insert NULL, and claim by name and version alone.
  {
    version: 2,
    name: 'saga: the definition that a saga began with',
    up: [
      {
        unless: hasColumn('dtx_saga', 'fingerprint'),
        sql: `ALTER TABLE dtx_saga ADD COLUMN fingerprint ${FINGERPRINT} NULL`,
      },
    ],
  },
];
