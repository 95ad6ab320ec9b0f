// What must hold for TCC: every transaction is decided and carried out by all its branches, the barriers let through no
// illegal pair, and the orders say what the transactions say.
import { fits, OF_ONE_TRANSACTION } from './tcc-names.mjs';

const CHUNK = 1_000;
const LISTED_MAX = 20;

/** Rows in the place of a Try with what came second, and the other way round: a second phase alone is a violation, too. */
const PAIRS = [
  `SELECT first.gid, first.branch, first.op AS first_op, second.op AS second_op FROM dtx_tcc_barrier AS first
   LEFT JOIN dtx_tcc_barrier AS second ON second.phase = 'second' AND ${OF_ONE_TRANSACTION}
   WHERE first.phase = 'try'`,
  `SELECT second.gid, second.branch, NULL AS first_op, second.op AS second_op FROM dtx_tcc_barrier AS second
   LEFT JOIN dtx_tcc_barrier AS first ON first.phase = 'try' AND ${OF_ONE_TRANSACTION}
   WHERE second.phase = 'second' AND first.op IS NULL`,
];

/** A pair of one branch that the barrier must never let through: what was tried, and what came second. */
const ILLEGAL = `first_op IS NULL OR (second_op = 'confirm' AND first_op <> 'try') OR (first_op = 'cancel' AND COALESCE(second_op, '') <> 'cancel')`;

export async function checkTcc({ databases, parked }) {
  const waiting = new Set(parked.map(({ gid }) => gid));
  const figures = { transactions: 0, CONFIRMED: 0, CANCELLED: 0, open: 0, barriers: 0 };
  const violations = [];
  for (const app of databases.apps.filter((one) => databases.has(one, 'dtx_tcc'))) {
    for await (const rows of chunksOf(databases, app)) {
      for (const { id, state } of rows) count(figures, violations, { id, state, isParked: waiting.has(id) });
      const over = rows.filter(({ id, state }) => figures[state] !== undefined && !waiting.has(id));
      violations.push(...(await disagreements(databases, app, over)));
    }
  }
  for (const app of databases.apps.filter((one) => databases.has(one, 'dtx_tcc_barrier'))) {
    const [{ number }] = await databases.query(app, 'SELECT COUNT(*) AS number FROM dtx_tcc_barrier');
    figures.barriers += Number(number);
    violations.push(...(await illegalPairs(databases, app)), ...(await leftReserved(databases, app, waiting)));
  }
  return figures.transactions + figures.barriers === 0 ? null : { figures, violations };
}

async function* chunksOf(databases, app) {
  for (let after = ''; after !== null; ) {
    const sql = `SELECT id, incarnation, state FROM dtx_tcc WHERE id > ? ORDER BY id LIMIT ${CHUNK}`;
    const rows = await databases.query(app, sql, [after]);
    if (rows.length > 0) yield rows;
    after = rows.length === CHUNK ? rows[CHUNK - 1].id : null;
  }
}

function count(figures, violations, { id, state, isParked }) {
  figures.transactions += 1;
  if (figures[state] !== undefined) figures[state] += 1;
  else figures.open += 1;
  if (figures[state] === undefined && !isParked) violations.push(`transaction ${id} is ${state}, which is not final`);
}

/** What each branch of a finished transaction must have let through, and what its order must be. */
async function disagreements(databases, initiator, transactions) {
  const ids = transactions.map(({ id }) => id);
  if (ids.length === 0) return [];
  const byHand = await settledByHand(databases, initiator, ids);
  const branches = await databases.query(
    initiator,
    'SELECT gid, branch, participant FROM dtx_tcc_branch WHERE gid IN (?)',
    [ids],
  );
  const barriers = await barriersOf(databases, ids);
  const orders = await ordersOf(databases, ids);
  const found = [];
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

/** A person has closed it without its branches. */
async function settledByHand(databases, app, ids) {
  if (!databases.has(app, 'dtx_operation')) return new Set();
  const sql = `SELECT subject_id AS id FROM dtx_operation WHERE subject_id IN (?) AND scheme = 'tcc' AND action = 'done'`;
  return new Set((await databases.query(app, sql, [ids])).map(({ id }) => id));
}

/** Per participant, gid and branch: what its barrier has let through, in order, for whichever initiator. */
async function barriersOf(databases, ids) {
  const found = new Map();
  for (const app of databases.apps.filter((one) => databases.has(one, 'dtx_tcc_barrier'))) {
    const sql = `SELECT gid, branch, participant, initiator, incarnation, op FROM dtx_tcc_barrier WHERE gid IN (?)
      ORDER BY gid, branch, phase DESC`;
    for (const row of await databases.query(app, sql, [ids])) {
      const key = `${row.participant} ${row.gid} ${row.branch}`;
      found.set(key, [...(found.get(key) ?? []), row]);
    }
  }
  return found;
}

const opsOf = (rows) => rows.map(({ op }) => op).join(' ');

async function ordersOf(databases, ids) {
  if (!databases.has('order', 'orders')) return null;
  const sql = 'SELECT order_id AS id, status FROM orders WHERE order_id IN (?)';
  return new Map((await databases.query('order', sql, [ids])).map(({ id, status }) => [id, status]));
}

async function illegalPairs(databases, app) {
  const rows = await databases.query(
    app,
    `SELECT * FROM (${PAIRS.join(' UNION ALL ')}) AS pair WHERE ${ILLEGAL} LIMIT ${LISTED_MAX}`,
  );
  return rows.map(
    ({ gid, branch, first_op, second_op }) =>
      `${app}: the barrier of ${gid}.${branch} has let through ${first_op ?? 'nothing'}, then ${second_op ?? 'nothing'}`,
  );
}

/** A Try that took effect and was never confirmed or cancelled holds what it reserved for ever. */
async function leftReserved(databases, app, waiting) {
  const rows = await databases.query(
    app,
    `SELECT first.gid, first.branch FROM dtx_tcc_barrier AS first
     LEFT JOIN dtx_tcc_barrier AS second ON second.phase = 'second' AND ${OF_ONE_TRANSACTION}
     WHERE first.phase = 'try' AND first.op = 'try' AND second.op IS NULL LIMIT ${LISTED_MAX + waiting.size}`,
  );
  const left = rows.filter(({ gid }) => !waiting.has(gid));
  return left.map(({ gid, branch }) => `${app}: ${gid}.${branch} was tried, and neither confirmed nor cancelled`);
}
