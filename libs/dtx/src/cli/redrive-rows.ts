// Makes sent messages due again, in bounded transactions. The running relays send them with their message ids, so an inbox
// that has a message handles it as a duplicate. If the process dies, the committed batches are due and the rest is unchanged.
import { bind, type SqlValue } from '../core/database/sql-literals.js';
import { type TableNames } from '../core/database/table-prefix.js';
import { NEVER_BY_ITSELF } from '../core/durable/settle-or-park.js';
import { newId } from '../core/ids.js';
import type { DatabaseSession } from './database-session.js';
import { type LeftOut, redriveOf, type Selection } from './redrive-selection.js';

/** A table whose rows are messages with receipts. */
export interface MessageTable {
  readonly scheme: string;
  readonly component: string;
  readonly name: string;
  /** The state of a row that was not sent yet. */
  readonly unsent: string;
  /** `consumers`, `awaiting` and `unreceipted` of a row, as SQL. */
  readonly columns: string;
  /**
   * Rows in an order. They are made to wait, and all keys open in one statement at the end, so no message is sent before an
   * earlier one that the redrive has not reached. If the process dies before, the next redrive opens them.
   */
  readonly inOrder?: { readonly dueAt: string; readonly open: string };
}

export const MESSAGE_TABLES: readonly MessageTable[] = [
  {
    scheme: 'local-message',
    component: 'dtx-local-message',
    name: 'dtx_outbox',
    unsent: 'PENDING',
    columns: 'consumers, awaiting, route IS NOT NULL AS unreceipted',
  },
  {
    scheme: 'half-message',
    component: 'dtx-half-message',
    name: 'dtx_half',
    unsent: 'COMMITTED',
    columns: `CONCAT(',', consumers, ',') AS consumers, COALESCE(awaiting, CONCAT(',', consumers, ',')) AS awaiting, 0 AS unreceipted`,
  },
  {
    scheme: 'local-message',
    component: 'dtx-keyed',
    name: 'dtx_keyed',
    unsent: 'WAITING',
    columns: 'consumers, awaiting, 0 AS unreceipted',
    inOrder: {
      dueAt: NEVER_BY_ITSELF,
      open: `UPDATE dtx_keyed SET open_key = stream_key, parked_at = ',' WHERE state = 'WAITING' AND open_key IS NULL`,
    },
  },
];

export interface Redrive {
  readonly session: DatabaseSession;
  readonly names: TableNames;
  readonly selection: Selection;
  readonly sinceMs: number;
  readonly untilMs: number;
  /** Rows that were made before are left out. */
  readonly oldestMs: number;
  readonly isDryRun: boolean;
  readonly operator: string | null;
  readonly progress: (counts: Counts) => void;
}

/** Counted while the redrive runs. */
export interface Counts {
  read: number;
  /** Messages that are due again, by contract, version and consumers. */
  readonly sent: Map<string, number>;
  readonly leftOut: Map<LeftOut, number>;
  /** Rows that another transaction held, or that changed meanwhile. */
  busy: number;
}

const PAGE_ROWS = 1_000;
/** Rows of one transaction, as in a retry of all. */
const BATCH_ROWS = 200;

interface Found {
  readonly id: string;
  readonly state: string;
  readonly awaiting: string;
  readonly next: string;
  readonly to: string;
}

/**
 * Walks over the table in the order of the primary key. The time of the receipt has no index, and a row may have
 * waited long for it.
 */
export async function redriveTable(table: MessageTable, redrive: Redrive, counts: Counts): Promise<void> {
  for (let after = ''; ; ) {
    const rows = await pageAfter(table, redrive, after);
    const found = rows.flatMap((row) => select(row, redrive, counts));
    for (const group of groupsOf(found)) await sendAgain(table, redrive, group, counts);
    counts.read += rows.length;
    redrive.progress(counts);
    if (rows.length < PAGE_ROWS) break;
    after = String(rows.at(-1)!.id);
  }
  if (table.inOrder && !redrive.isDryRun) await ask(redrive, table.inOrder.open);
}

type Row = Record<string, unknown>;

/** Reads open rows and DONE rows, without their payload. A SENT row without a next attempt is final and has no receipts. */
function pageAfter({ name, columns }: MessageTable, { sinceMs, untilMs, oldestMs, ...at }: Redrive, after: string) {
  return ask(
    at,
    `SELECT id, state, contract, version, ${columns}, created_at < ? AS is_old, done_at >= ? AND done_at < ? AS is_in,
       state <> 'DONE' AND next_attempt_at IS NULL AS is_final
     FROM ${name} FORCE INDEX (PRIMARY) WHERE id > ? ORDER BY id LIMIT ${PAGE_ROWS}`,
    [new Date(oldestMs), new Date(sinceMs), new Date(untilMs), after],
  );
}

function select(row: Row, { selection }: Redrive, counts: Counts): Found[] {
  if (Number(row.is_final) === 1) return [];
  const [state, awaiting] = [String(row.state), String(row.awaiting)];
  const chosen = redriveOf(
    {
      state,
      awaiting,
      contract: String(row.contract),
      consumers: row.consumers === null ? null : String(row.consumers),
      isUnreceipted: Number(row.unreceipted) === 1,
      isInWindow: Number(row.is_in) === 1,
      isTooOld: Number(row.is_old) === 1,
    },
    selection,
  );
  if (chosen === null) return [];
  if ('leftOut' in chosen) {
    counts.leftOut.set(chosen.leftOut, (counts.leftOut.get(chosen.leftOut) ?? 0) + 1);
    return [];
  }
  const to = `${row.contract} v${row.version} to ${chosen.awaiting.slice(1, -1) || 'its exchange'}`;
  return [{ id: String(row.id), state, awaiting, next: chosen.awaiting, to }];
}

/** Rows with the same change, in batches. */
function groupsOf(found: readonly Found[]): Found[][] {
  const keyOf = ({ state, awaiting, next, to }: Found) => `${state} ${awaiting} ${next} ${to}`;
  return [...new Set(found.map(keyOf))].flatMap((key) => {
    const same = found.filter((one) => keyOf(one) === key);
    const batches = Math.ceil(same.length / BATCH_ROWS);
    return Array.from({ length: batches }, (_, batch) => same.slice(batch * BATCH_ROWS, (batch + 1) * BATCH_ROWS));
  });
}

/**
 * Makes a batch due, if its rows are still as they were read. A row that another transaction holds is left out, so no relay
 * waits. `sent_at` starts anew, because the alert about a missing receipt counts from it.
 */
async function sendAgain(table: MessageTable, redrive: Redrive, rows: readonly Found[], counts: Counts): Promise<void> {
  const { state, awaiting, next, to } = rows[0]!;
  const count = (number: number) => counts.sent.set(to, (counts.sent.get(to) ?? 0) + number);
  if (redrive.isDryRun) return void count(rows.length);
  await ask(redrive, 'START TRANSACTION');
  const free = await ask(
    redrive,
    `SELECT id FROM ${table.name} FORCE INDEX (PRIMARY)
     WHERE id IN (?) AND state = ? AND COALESCE(awaiting, ?) = ? FOR UPDATE SKIP LOCKED`,
    [rows.map(({ id }) => id), state, awaiting, awaiting],
  );
  const ids = free.map(({ id }) => String(id));
  if (ids.length > 0) {
    await ask(
      redrive,
      `UPDATE ${table.name} SET state = ?, awaiting = ?, attempts = 0, claim_token = NULL, next_attempt_at = ${table.inOrder?.dueAt ?? 'UTC_TIMESTAMP(3)'},
         sent_at = NULL, done_at = NULL WHERE id IN (?)`,
      [table.unsent, next, ids],
    );
    await record(table, redrive, ids);
  }
  await ask(redrive, 'COMMIT');
  count(ids.length);
  counts.busy += rows.length - ids.length;
}

/** The timeline of `/dtx` shows the redrive of each message. */
async function record({ scheme }: MessageTable, redrive: Redrive, ids: readonly string[]): Promise<void> {
  const note = `sent again: DONE since ${isoOf(redrive.sinceMs)}, before ${isoOf(redrive.untilMs)}`;
  const at = new Date(redrive.untilMs);
  await ask(redrive, 'INSERT INTO dtx_operation (id, scheme, subject_id, action, operator, note, at) VALUES ?', [
    ids.map((id) => [newId(), scheme, id, 'redrive', redrive.operator, note, at]),
  ]);
}

export const isoOf = (ms: number) => new Date(ms).toISOString();

type At = Pick<Redrive, 'session' | 'names'>;

/** Names are translated before values are bound, so data is never changed. */
function ask({ session, names }: At, sql: string, values?: readonly SqlValue[]): Promise<Row[]> {
  return session.query(bind(names.inDatabase(sql), values)) as Promise<Row[]>;
}
