// Rows of the local message table in bulk, by SQL. They go to consumers that only a bench has.
import type { ShopDatabases } from './shop-databases.js';

export const SINKS = ['bench.sink-1', 'bench.sink-2', 'bench.sink-3', 'bench.sink-4'] as const;

/** As long as the payload of an order. */
export const PAYLOAD = JSON.stringify({ orderId: '0'.repeat(36), filler: '0'.repeat(150) });
/** A purchase that no app knows. */
const PURCHASE = JSON.stringify({
  orderId: '00000000-0000-7000-8000-000000000000',
  scheme: 'local-message',
  buyerId: 'bench',
  sku: 'bench',
  quantity: 1,
  amount: 1,
});
const CHUNK = 100_000;
const COLUMNS = 'id, gid, contract, version, payload, awaiting, state, next_attempt_at, created_at, done_at';

/** Rows that the relay may take at once. They become due in one commit. */
export async function addDueRows(databases: ShopDatabases, count: number, prefix: string): Promise<void> {
  const sink = `ELT(1 + n % ${SINKS.length}, ${SINKS.map((name) => `',${name},'`).join(', ')})`;
  const later = 'UTC_TIMESTAMP(3) + INTERVAL 1 DAY';
  await addRows(
    databases,
    count,
    (id) =>
      `${id(prefix)}, 'bench', 'order.placed', 1, '${PAYLOAD}', ${sink}, 'PENDING', ${later}, UTC_TIMESTAMP(3), NULL`,
  );
  const due = `UPDATE dtx_outbox SET next_attempt_at = UTC_TIMESTAMP(3) WHERE state = 'PENDING' AND id LIKE '${prefix}%'`;
  await databases.query('order', due);
}

export function addFinishedRows(databases: ShopDatabases, count: number, prefix: string): Promise<void> {
  return addRows(
    databases,
    count,
    (id) => `${id(prefix)}, 'bench', 'order.placed', 1, '{}', ',', 'DONE', NULL, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)`,
  );
}

interface Scheduled {
  readonly consumer: string;
  /** When the first is due, and how far apart the others are, in milliseconds. */
  readonly firstMs: number;
  readonly apartMs: number;
}

const IN_A_YEAR: Scheduled = { consumer: SINKS[0], firstMs: 365 * 86_400_000, apartMs: 1 };

/** Delayed rows. By default none of them is due during a bench. */
export function addScheduledRows(
  databases: ShopDatabases,
  count: number,
  prefix: string,
  { consumer, firstMs, apartMs }: Scheduled = IN_A_YEAR,
): Promise<void> {
  const due = `UTC_TIMESTAMP(3) + INTERVAL (${firstMs} + n * ${apartMs}) * 1000 MICROSECOND`;
  const row = (id: string) =>
    `${id}, 'bench', 'order.expired', 1, '${PURCHASE}', ',${consumer},', 'SCHEDULED', ${due}, ${due}, NULL`;
  return addRows(databases, count, (id) => row(id(prefix)));
}

type Values = (id: (prefix: string) => string) => string;

async function addRows(databases: ShopDatabases, count: number, values: Values): Promise<void> {
  for (let from = 0; from < count; from += CHUNK) {
    const id = (prefix: string) => `CONCAT('${prefix}', LPAD(n + ${from}, 12, '0'))`;
    const numbers = numbersBelow(Math.min(CHUNK, count - from));
    await databases.query('order', `INSERT INTO dtx_outbox (${COLUMNS}) SELECT ${values(id)} FROM ${numbers}`);
  }
}

/** Whether rows are left that the broker has not confirmed. A receipt may be faster than the mark. */
export const isUnsent = (databases: ShopDatabases): Promise<boolean> => hasRow(databases, `state = 'PENDING'`);
export const isUndone = (databases: ShopDatabases): Promise<boolean> =>
  hasRow(databases, `state IN ('PENDING', 'SENT')`);

async function hasRow(databases: ShopDatabases, condition: string): Promise<boolean> {
  const sql = `SELECT 1 FROM dtx_outbox FORCE INDEX (by_state) WHERE ${condition} LIMIT 1`;
  return (await databases.query('order', sql)).length > 0;
}

/** A derived table with the column `n`, from 0 to below a limit of at most 100,000. */
function numbersBelow(limit: number): string {
  const digits = Array.from({ length: 10 }, (_, digit) => `SELECT ${digit} d`).join(' UNION ALL ');
  const places = ['a', 'b', 'c', 'd', 'e'];
  const number = places.map((place, power) => `${place}.d * ${10 ** power}`).join(' + ');
  const from = places.map((place) => `(${digits}) ${place}`).join(' JOIN ');
  return `(SELECT n FROM (SELECT ${number} AS n FROM ${from}) every WHERE n < ${limit}) numbers`;
}

interface KeyedRows {
  readonly keys: number;
  readonly perKey: number;
  /** Begins the names of the keys and the ids. */
  readonly prefix: string;
  readonly parkedHead?: boolean;
}

/** Messages that wait in order of their keys. The search of the relay finds the heads that may go on. */
export async function addKeyedRows(
  databases: ShopDatabases,
  { keys, perKey, prefix, parkedHead }: KeyedRows,
): Promise<void> {
  const count = keys * perKey;
  for (let from = 0; from < count; from += CHUNK) {
    const n = `(n + ${from})`;
    const key = `CONCAT('${prefix}-', ${n} MOD ${keys})`;
    const place = `1 + ${n} DIV ${keys}`;
    const state = parkedHead ? `IF(${n} < ${keys}, 'PARKED', 'WAITING')` : `'WAITING'`;
    const sink = `',${SINKS[0]},'`;
    await databases.query(
      'order',
      `INSERT INTO dtx_keyed (id, gid, contract, version, payload, awaiting, consumers, stream_key, open_key, on_parked, seq, state,
         next_attempt_at, created_at)
       SELECT CONCAT('${prefix}-', LPAD(${n}, 12, '0')), 'bench', 'order.placed', 1, '${PAYLOAD}', ${sink}, ${sink}, ${key}, ${key}, 'wait',
         ${place}, ${state}, '9999-12-31', UTC_TIMESTAMP(3) FROM ${numbersBelow(Math.min(CHUNK, count - from))}`,
    );
  }
}
