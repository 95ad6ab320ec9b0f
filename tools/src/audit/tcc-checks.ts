// Invariants of TCC: every transaction is decided and all its branches have carried out the decision. The barriers let no
// illegal pair through, and the orders agree with the transactions.
import { tableNames } from 'nest-dtx/testing';
import type { Databases } from '../sandbox/database-reader.js';
import type { App } from '../servers/server-set.js';
import type { AuditContext, Check } from './check-types.js';
import { fits, OF_ONE_TRANSACTION } from './tcc-barrier-matching.js';

const CHUNK = 1_000;
const LISTED_MAX = 20;
/** A transaction has at most this number of branches, so of open Tries. */
const OPEN_TRIES_PER_GID = 100;

/** Each first phase with its second phase, and second phases without a first phase, which are a violation too. */
const PAIRS = [
  `SELECT first.gid, first.branch, first.op AS first_op, second.op AS second_op FROM ${tableNames.tccBarrier} AS first
   LEFT JOIN ${tableNames.tccBarrier} AS second ON second.phase = 'second' AND ${OF_ONE_TRANSACTION}
   WHERE first.phase = 'try'`,
  `SELECT second.gid, second.branch, NULL AS first_op, second.op AS second_op FROM ${tableNames.tccBarrier} AS second
   LEFT JOIN ${tableNames.tccBarrier} AS first ON first.phase = 'try' AND ${OF_ONE_TRANSACTION}
   WHERE second.phase = 'second' AND first.op IS NULL`,
];

/** Pairs of one branch that the barrier must never let through. */
const ILLEGAL = `first_op IS NULL OR (second_op = 'confirm' AND first_op <> 'try') OR (first_op = 'cancel' AND COALESCE(second_op, '') <> 'cancel')`;

interface TransactionRow {
  id: string;
  incarnation: string | null;
  state: string;
}
interface BarrierRow {
  gid: string;
  branch: string;
  participant: string;
  initiator: string;
  incarnation: string;
  op: string;
}
interface TccFigures extends Record<string, number> {
  transactions: number;
  CONFIRMED: number;
  CANCELLED: number;
  open: number;
  barriers: number;
}

const FINAL = ['CONFIRMED', 'CANCELLED'];

export async function checkTcc({ databases, parked }: AuditContext): ReturnType<Check> {
  const waiting = new Set(parked.map(({ gid }) => gid));
  const figures: TccFigures = { transactions: 0, CONFIRMED: 0, CANCELLED: 0, open: 0, barriers: 0 };
  const violations: string[] = [];
  for (const app of databases.apps.filter((one) => databases.has(one, tableNames.tcc))) {
    for await (const rows of chunksOf(databases, app)) {
      for (const { id, state } of rows) violations.push(...count(figures, id, state, waiting.has(id)));
      const over = rows.filter(({ id, state }) => FINAL.includes(state) && !waiting.has(id));
      violations.push(...(await disagreements(databases, app, over)));
    }
  }
  const known = { waiting, byHand: await allSettledByHand(databases) };
  for (const app of databases.apps.filter((one) => databases.has(one, tableNames.tccBarrier))) {
    const counted = `SELECT COUNT(*) AS number FROM ${tableNames.tccBarrier}`;
    const [count] = await databases.query<{ number: bigint }>(app, counted);
    figures.barriers += Number(count!.number);
    violations.push(...(await illegalPairs(databases, app)), ...(await leftReserved(databases, app, known)));
  }
  return figures.transactions + figures.barriers === 0 ? null : { figures, violations };
}

async function* chunksOf(databases: Databases, app: App): AsyncGenerator<TransactionRow[]> {
  for (let after: string | null = ''; after !== null; ) {
    const sql = `SELECT id, incarnation, state FROM ${tableNames.tcc} WHERE id > ? ORDER BY id LIMIT ${CHUNK}`;
    const rows: TransactionRow[] = await databases.query<TransactionRow>(app, sql, [after]);
    if (rows.length > 0) yield rows;
    after = rows.length === CHUNK ? rows[CHUNK - 1]!.id : null;
  }
}

/** Counts the transaction. Returns a violation if it is neither final nor parked. */
function count(figures: TccFigures, id: string, state: string, isParked: boolean): string[] {
  const isFinal = FINAL.includes(state);
  figures.transactions += 1;
  if (isFinal) figures[state] = (figures[state] ?? 0) + 1;
  else figures.open += 1;
  return isFinal || isParked ? [] : [`transaction ${id} is ${state}, which is not final`];
}

/** Compares finished transactions with the barriers of their branches and with their orders. */
async function disagreements(
  databases: Databases,
  initiator: App,
  transactions: readonly TransactionRow[],
): Promise<string[]> {
  const ids = transactions.map(({ id }) => id);
  if (ids.length === 0) return [];
  const byHand = await settledByHand(databases, initiator, ids);
  const branches = await databases.query<Pick<BarrierRow, 'gid' | 'branch' | 'participant'>>(
    initiator,
    `SELECT gid, branch, participant FROM ${tableNames.tccBranch} WHERE gid IN (?)`,
    [ids],
  );
  const barriers = await barriersOf(databases, ids);
  const orders = await ordersOf(databases, ids);
  const found: string[] = [];
  for (const { id, incarnation, state } of transactions.filter(({ id }) => !byHand.has(id))) {
    const wanted = state === 'CONFIRMED' ? 'try confirm' : 'cancel';
    for (const { branch, participant } of branches.filter(({ gid }) => gid === id)) {
      const rows = barriers.get(`${participant} ${id} ${branch}`) ?? [];
      const ops = opsOf(rows.filter((row) => fits(row, { initiator, incarnation }))) || 'nothing';
      if (!ops.endsWith(wanted))
        found.push(`transaction ${id} is ${state}, but ${participant} has let through: ${ops}`);
      if (participant === 'order.checkout' && orders && orders.get(id) !== state)
        found.push(`transaction ${id} is ${state}, its order is ${orders.get(id) ?? 'missing'}`);
    }
  }
  return found;
}

/** Transactions that an operator has closed without their branches. */
async function settledByHand(databases: Databases, app: App, ids: readonly string[]): Promise<Set<string>> {
  if (!databases.has(app, tableNames.operation)) return new Set();
  const sql = `SELECT subject_id AS id FROM ${tableNames.operation} WHERE subject_id IN (?) AND scheme = 'tcc' AND action = 'done'`;
  return new Set((await databases.query<{ id: string }>(app, sql, [ids])).map(({ id }) => id));
}

/** Rows of the barriers by participant, gid and branch, of any initiator, in the order of the phases. */
async function barriersOf(databases: Databases, ids: readonly string[]): Promise<Map<string, BarrierRow[]>> {
  const found = new Map<string, BarrierRow[]>();
  for (const app of databases.apps.filter((one) => databases.has(one, tableNames.tccBarrier))) {
    const sql = `SELECT gid, branch, participant, initiator, incarnation, op FROM ${tableNames.tccBarrier} WHERE gid IN (?)
      ORDER BY gid, branch, phase DESC`;
    for (const row of await databases.query<BarrierRow>(app, sql, [ids])) {
      const key = `${row.participant} ${row.gid} ${row.branch}`;
      found.set(key, [...(found.get(key) ?? []), row]);
    }
  }
  return found;
}

const opsOf = (rows: readonly BarrierRow[]) => rows.map(({ op }) => op).join(' ');

async function ordersOf(databases: Databases, ids: readonly string[]): Promise<Map<string, string> | null> {
  if (!databases.has('order', 'orders')) return null;
  const sql = 'SELECT order_id AS id, status FROM orders WHERE order_id IN (?)';
  const rows = await databases.query<{ id: string; status: string }>('order', sql, [ids]);
  return new Map(rows.map(({ id, status }) => [id, status]));
}

interface Pair {
  gid: string;
  branch: string;
  first_op: string | null;
  second_op: string | null;
}

async function illegalPairs(databases: Databases, app: App): Promise<string[]> {
  const rows = await databases.query<Pair>(
    app,
    `SELECT * FROM (${PAIRS.join(' UNION ALL ')}) AS pair WHERE ${ILLEGAL} LIMIT ${LISTED_MAX}`,
  );
  return rows.map(
    ({ gid, branch, first_op, second_op }) =>
      `${app}: the barrier of ${gid}.${branch} has let through ${first_op ?? 'nothing'}, then ${second_op ?? 'nothing'}`,
  );
}

/**
 * A Try that took effect and was never confirmed or cancelled holds its reservation for ever. An operator who closed its
 * transaction has taken over the reservation. The checks of money and stock show whether that is done.
 */
async function leftReserved(databases: Databases, app: App, known: KnownOpen): Promise<string[]> {
  const rows = await databases.query<{ gid: string; branch: string; initiator: string; incarnation: string }>(
    app,
    `SELECT first.gid, first.branch, first.initiator, first.incarnation FROM ${tableNames.tccBarrier} AS first
     LEFT JOIN ${tableNames.tccBarrier} AS second ON second.phase = 'second' AND ${OF_ONE_TRANSACTION}
     WHERE first.phase = 'try' AND first.op = 'try' AND second.op IS NULL LIMIT ${LISTED_MAX + known.waiting.size + OPEN_TRIES_PER_GID * known.byHand.length}`,
  );
  const isByHand = (row: { gid: string; initiator: string; incarnation: string }) =>
    known.byHand.some(({ app: initiator, id }) => id === row.gid && fits(row, { initiator, incarnation: null }));
  const left = rows.filter((row) => !known.waiting.has(row.gid) && !isByHand(row));
  return left
    .slice(0, LISTED_MAX)
    .map(({ gid, branch }) => `${app}: ${gid}.${branch} was tried, but neither confirmed nor cancelled`);
}

/** Transactions whose Tries may be open: those that wait for an operator, and those that an operator has closed. */
interface KnownOpen {
  readonly waiting: ReadonlySet<string | null>;
  readonly byHand: ReadonlyArray<{ readonly app: App; readonly id: string }>;
}

/** All transactions that an operator has closed without their branches. Such records are never purged. */
async function allSettledByHand(databases: Databases): Promise<Array<{ app: App; id: string }>> {
  const apps = databases.apps.filter((app) => databases.has(app, tableNames.operation));
  const sql = `SELECT DISTINCT subject_id AS id FROM ${tableNames.operation} WHERE scheme = 'tcc' AND action = 'done'`;
  const found = await Promise.all(apps.map((app) => databases.query<{ id: string }>(app, sql)));
  return found.flatMap((rows, index) => rows.map(({ id }) => ({ app: apps[index]!, id })));
}
