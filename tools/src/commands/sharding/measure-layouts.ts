// What one database server carries: rows that are committed one by one, then claimed and marked in batches as by the relay.
import { randomUUID } from 'node:crypto';
import { type Connection, createConnection, type ResultSetHeader, type RowDataPacket } from 'mysql2/promise';
import { v7 } from 'uuid';
import { type Layout, makeTables } from './outbox-layouts.js';

const WRITERS = 8;
const BATCH = 100;
const PAYLOAD = JSON.stringify({ orderId: 'x'.repeat(36), sku: 'book-1', quantity: 1, note: 'y'.repeat(120) });
const LEASE_MICROS = 30_000_000;

export interface Phase {
  readonly rows: number;
  readonly seconds: number;
  readonly commits: number;
  readonly fsyncs: number;
}

export interface Round {
  readonly insert: Phase;
  readonly relay: Phase;
}

/** One round of one layout. Stops early if the signal is aborted. */
export async function measureRound(url: string, layout: Layout, ms: number, signal: AbortSignal): Promise<Round> {
  const connections = await Promise.all(Array.from({ length: WRITERS + 1 }, () => createConnection(url)));
  const [observer, ...workers] = connections as [Connection, ...Connection[]];
  try {
    await makeTables(observer, layout);
    const goesOn = (end: number) => performance.now() < end && !signal.aborted;
    const insert = await phase(observer, ms, (end) =>
      Promise.all(workers.map((worker, n) => insertUntil(worker, layout, n, () => goesOn(end)))),
    );
    const relay = await phase(observer, ms, (end) =>
      Promise.all(workers.slice(0, layout.relays).map((worker, n) => relayUntil(worker, layout, n, () => goesOn(end)))),
    );
    return { insert, relay };
  } finally {
    await Promise.all(connections.map((connection) => connection.end()));
  }
}

async function phase(observer: Connection, ms: number, work: (end: number) => Promise<number[]>): Promise<Phase> {
  const before = await counters(observer);
  const since = performance.now();
  const rows = await work(since + ms);
  const seconds = (performance.now() - since) / 1_000;
  const after = await counters(observer);
  return {
    rows: rows.reduce((sum, count) => sum + count, 0),
    seconds,
    commits: after.commits - before.commits,
    fsyncs: after.fsyncs - before.fsyncs,
  };
}

async function counters(observer: Connection): Promise<{ commits: number; fsyncs: number }> {
  const [rows] = await observer.query<RowDataPacket[]>(
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('Com_commit', 'Innodb_data_fsyncs', 'Innodb_os_log_fsyncs')",
  );
  const values = new Map(rows.map((row) => [String(row.Variable_name), Number(row.Value)]));
  // MySQL and MariaDB count the fsyncs of the log among those of the data files.
  return { commits: values.get('Com_commit') ?? 0, fsyncs: values.get('Innodb_data_fsyncs') ?? 0 };
}

/** One transaction per row, as an app commits one message with its business. */
async function insertUntil(worker: Connection, { tables }: Layout, n: number, goesOn: () => boolean): Promise<number> {
  let rows = 0;
  for (; goesOn(); rows++) {
    await worker.query('BEGIN');
    await worker.query(
      `INSERT INTO ${tables[(n + rows) % tables.length]}
         (id, gid, contract, version, payload, awaiting, state, next_attempt_at, created_at)
       VALUES (?, ?, 'shop.bought', 1, ?, ',inventory.reserve,', 'PENDING', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
      [v7(), randomUUID(), PAYLOAD],
    );
    await worker.query('COMMIT');
  }
  return rows;
}

/** Until nothing is due. With as many tables as relays each relay has a table of its own. */
async function relayUntil(worker: Connection, layout: Layout, n: number, goesOn: () => boolean): Promise<number> {
  const own = layout.tables.filter((_, table) => layout.tables.length === 1 || table % layout.relays === n);
  let rows = 0;
  for (let empty = 0; empty < own.length && goesOn(); ) {
    const table = own[0]!;
    own.push(own.shift()!);
    const count = await relayBatch(worker, table).catch((error: { code?: string }) => {
      if (error.code === 'ER_LOCK_DEADLOCK') return null; // the server has rolled the batch back; it is claimed again
      throw error;
    });
    rows += count ?? 0;
    empty = count === 0 ? empty + 1 : 0;
  }
  return rows;
}

/** Claim in a transaction, then the mark, in the statements of the library. The publish between them is left out. */
async function relayBatch(worker: Connection, table: string): Promise<number> {
  await worker.query('BEGIN');
  const [rows] = await worker.query<RowDataPacket[]>(
    `SELECT id, gid, payload, awaiting FROM ${table} FORCE INDEX (due) WHERE next_attempt_at <= UTC_TIMESTAMP(3)
     ORDER BY next_attempt_at LIMIT ${BATCH} FOR UPDATE SKIP LOCKED`,
  );
  const token = randomUUID();
  const ids = rows.map((row) => String(row.id)).sort();
  const later = `UTC_TIMESTAMP(3) + INTERVAL ${LEASE_MICROS} MICROSECOND`;
  if (ids.length > 0)
    await worker.query(`UPDATE ${table} SET claim_token = ?, next_attempt_at = ${later} WHERE id IN (?)`, [token, ids]);
  await worker.query('COMMIT');
  if (ids.length === 0) return 0;
  await worker.query('BEGIN');
  const [marked] = await worker.query<ResultSetHeader>(
    `UPDATE ${table} SET state = 'SENT', next_attempt_at = ${later}, attempts = attempts + 1, claim_token = NULL,
     sent_at = COALESCE(sent_at, UTC_TIMESTAMP(3)) WHERE id IN (?) AND claim_token = ? AND state IN ('PENDING', 'SENT')`,
    [ids, token],
  );
  await worker.query('COMMIT');
  return marked.affectedRows;
}
