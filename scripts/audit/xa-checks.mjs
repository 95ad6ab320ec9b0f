// What must hold for XA: every decision is carried out, each branch has left the witness that proves it, no branch has
// taken effect without a decision, and the orders say what the log says.
import { isOfLog, logIdOf, logStateOf, preparedOn, startOf } from './xa-branches.mjs';

const CHUNK = 1_000;
const LISTED_MAX = 20;

export async function checkXa({ databases, parked }) {
  const logId = await logIdOf(databases);
  if (logId === null) return null;
  const waiting = new Set(parked.filter(({ table }) => table === 'dtx_xa').map(({ id }) => id));
  const figures = { decisions: 0, COMMIT: 0, ROLLBACK: 0, open: 0, branchesOfOthers: 0 };
  const violations = [];
  for (let after = ''; after !== null; ) {
    const sql = `SELECT id, gid, gtrid, branches, decision, state FROM dtx_xa WHERE id > ? ORDER BY id LIMIT ${CHUNK}`;
    const found = await databases.query('order', sql, [after]);
    // What the log says of itself is no decision; a fault of it is PARKED, and listed with all that is.
    const rows = found.filter(({ id }) => !isOfLog(id));
    for (const row of rows) {
      figures.decisions += 1;
      if (row.decision !== null) figures[row.decision] += 1;
      if (row.state !== 'DONE') figures.open += 1;
      if (row.state !== 'DONE' && !waiting.has(row.id)) violations.push(`decision ${row.id} is ${row.state}, not DONE`);
    }
    violations.push(...(await disagreements(databases, rows)));
    after = found.length === CHUNK ? found[CHUNK - 1].id : null;
  }
  const log = await logStateOf(databases);
  violations.push(...faultsOf(log));
  violations.push(...(await witnessesWithoutDecision(databases, logId, log)));
  violations.push(...(await ordersWithoutDecision(databases)));
  figures.branchesOfOthers = (await preparedOn(databases)).filter(({ whose }) => whose !== 'own').length;
  return figures.decisions === 0 && violations.length === 0 ? null : { figures, violations };
}

/** A log that is not where it belongs, or has lost rows, proves nothing of what it does not say. */
function faultsOf({ isWhole, isHome, home, here }) {
  return [
    ...(isWhole ? [] : ['the decision log has lost its sentinel row: rows are missing']),
    ...(isHome ? [] : [`the decision log is bound to ${home}, and is read from ${here}`]),
  ];
}

/** COMMIT and DONE: every branch's own witness is there. ROLLBACK and DONE: every one was claimed. */
async function disagreements(databases, rows) {
  const done = rows.filter(({ state, decision }) => state === 'DONE' && decision !== null);
  if (done.length === 0) return [];
  const byHand = await settledByHand(databases, done);
  const left = await witnessesOf(databases, done);
  const orders = await ordersOf(databases, done);
  const found = [];
  for (const { id, gid, gtrid, branches, decision } of done.filter((row) => !byHand.has(row.id))) {
    const wanted = decision === 'COMMIT' ? 'branch' : 'recovery';
    for (const branch of branches.split(',')) {
      const who = left.get(`${gtrid} ${branch}`) ?? 'nobody';
      if (who !== wanted) found.push(`decision ${id} is ${decision}, but the witness at ${branch} is of ${who}`);
    }
    if (decision === 'COMMIT' && orders && orders.get(gid) !== 'CONFIRMED')
      found.push(`decision ${id} is COMMIT, its order ${gid} is ${orders.get(gid) ?? 'missing'}`);
  }
  return found;
}

/** A person has closed it without its branches. */
async function settledByHand(databases, rows) {
  if (!databases.has('order', 'dtx_operation')) return new Set();
  const sql = `SELECT subject_id AS id FROM dtx_operation WHERE subject_id IN (?) AND action = 'done'`;
  return new Set((await databases.query('order', sql, [rows.map(({ id }) => id)])).map(({ id }) => id));
}

async function witnessesOf(databases, rows) {
  const found = new Map();
  for (const app of branchApps(databases)) {
    const sql = 'SELECT gtrid, branch, who FROM dtx_xa_witness WHERE gtrid IN (?)';
    for (const { gtrid, branch, who } of await databases.query(app, sql, [rows.map((row) => row.gtrid)]))
      found.set(`${gtrid} ${branch}`, who);
  }
  return found;
}

async function ordersOf(databases, rows) {
  if (!databases.has('order', 'orders')) return null;
  const sql = 'SELECT order_id AS id, status FROM orders WHERE order_id IN (?)';
  const orders = await databases.query('order', sql, [rows.map(({ gid }) => gid)]);
  return new Map(orders.map(({ id, status }) => [id, status]));
}

/**
 * A branch that has taken effect although nobody decided so. Witnesses are removed before their decisions. What a person
 * has looked at, since the log had lost its end, is settled.
 */
async function witnessesWithoutDecision(databases, logId, { trustedFromMs }) {
  const found = [];
  for (const app of branchApps(databases)) {
    for (let after = ''; after !== null; ) {
      const sql = `SELECT DISTINCT gtrid FROM dtx_xa_witness WHERE gtrid > ? AND gtrid LIKE ? ORDER BY gtrid LIMIT ${CHUNK}`;
      const gtrids = (await databases.query(app, sql, [after, `${logId}.%`])).map(({ gtrid }) => gtrid);
      const ids = gtrids.map((gtrid) => gtrid.slice(-36)).filter((id) => startOf(id) >= trustedFromMs);
      const known =
        ids.length === 0 ? [] : await databases.query('order', 'SELECT id FROM dtx_xa WHERE id IN (?)', [ids]);
      const decided = new Set(known.map(({ id }) => id));
      found.push(
        ...ids.filter((id) => !decided.has(id)).map((id) => `${app}: a witness of ${id}, which nobody decided`),
      );
      after = gtrids.length === CHUNK ? gtrids[CHUNK - 1] : null;
    }
  }
  return found.slice(0, LISTED_MAX);
}

/** An order and the decision that made it are one commit. */
async function ordersWithoutDecision(databases) {
  if (!databases.has('order', 'orders')) return [];
  const rows = await databases.query(
    'order',
    `SELECT o.order_id AS id FROM orders o LEFT JOIN dtx_xa x ON x.gid = o.order_id AND x.decision = 'COMMIT'
     WHERE o.scheme = 'xa' AND o.status = 'CONFIRMED' AND x.id IS NULL
       AND o.created_at > UTC_TIMESTAMP(3) - INTERVAL 7 DAY LIMIT ${LISTED_MAX}`,
  );
  return rows.map(({ id }) => `order ${id} is CONFIRMED by xa without a decision to commit`);
}

const branchApps = (databases) => databases.apps.filter((app) => databases.has(app, 'dtx_xa_witness'));
