// Invariants of XA: every decision is carried out, and each branch has left the witness that proves it. No branch has taken
// effect without a decision, and the orders agree with the decision log.

import { idTimeMs } from 'nest-dtx';
import { tableNames } from 'nest-dtx/testing';
import type { Databases } from '../sandbox/database-reader.js';
import type { App } from '../servers/server-set.js';
import type { AuditContext, Check } from './check-types.js';
import { isOfLog, type LogState, logIdOf, logStateOf } from './xa-log-state.js';
import { preparedOn } from './xa-prepared-branches.js';

const CHUNK = 1_000;
const LISTED_MAX = 20;

interface DecisionRow {
  id: string;
  gid: string;
  gtrid: string;
  branches: string;
  decision: 'COMMIT' | 'ROLLBACK' | null;
  state: string;
}

export async function checkXa({ databases, parked }: AuditContext): ReturnType<Check> {
  const logId = await logIdOf(databases);
  if (logId === null) return null;
  const waiting = new Set(parked.filter(({ table }) => table === tableNames.xa).map(({ id }) => id));
  const figures = { decisions: 0, COMMIT: 0, ROLLBACK: 0, open: 0, branchesOfOthers: 0 };
  const violations: string[] = [];
  for (let after: string | null = ''; after !== null; ) {
    const sql = `SELECT id, gid, gtrid, branches, decision, state FROM ${tableNames.xa} WHERE id > ? ORDER BY id LIMIT ${CHUNK}`;
    const found: DecisionRow[] = await databases.query<DecisionRow>('order', sql, [after]);
    // Rows about the log itself are not decisions. A fault of the log is PARKED and listed with all parked rows.
    const rows = found.filter(({ id }) => !isOfLog(id));
    for (const row of rows) {
      figures.decisions += 1;
      if (row.decision !== null) figures[row.decision] += 1;
      if (row.state !== 'DONE') figures.open += 1;
      if (row.state !== 'DONE' && !waiting.has(row.id)) violations.push(`decision ${row.id} is ${row.state}, not DONE`);
    }
    violations.push(...(await disagreements(databases, rows)));
    after = found.length === CHUNK ? found[CHUNK - 1]!.id : null;
  }
  const log = await logStateOf(databases);
  violations.push(...faultsOf(log));
  violations.push(...(await witnessesWithoutDecision(databases, logId, log)));
  violations.push(...(await ordersWithoutDecision(databases)));
  figures.branchesOfOthers = (await preparedOn(databases)).filter(({ whose }) => whose !== 'own').length;
  return figures.decisions === 0 && violations.length === 0 ? null : { figures, violations };
}

/** If a log is not where it belongs or has lost rows, the absence of a decision in it proves nothing. */
function faultsOf({ isWhole, isHome, home, here }: LogState): string[] {
  return [
    ...(isWhole ? [] : ['the decision log has lost its sentinel row: rows are missing']),
    ...(isHome ? [] : [`the decision log is bound to ${home}, and is read from ${here}`]),
  ];
}

/** COMMIT and DONE: every branch has left its own witness. ROLLBACK and DONE: recovery has written every witness. */
async function disagreements(databases: Databases, rows: readonly DecisionRow[]): Promise<string[]> {
  const done = rows.filter(({ state, decision }) => state === 'DONE' && decision !== null);
  if (done.length === 0) return [];
  const byHand = await settledByHand(databases, done);
  const left = await witnessesOf(databases, done);
  const orders = await ordersOf(databases, done);
  const found: string[] = [];
  for (const { id, gid, gtrid, branches, decision } of done.filter((row) => !byHand.has(row.id))) {
    const wanted = decision === 'COMMIT' ? 'branch' : 'recovery';
    for (const branch of branches.split(',')) {
      const who = left.get(`${gtrid} ${branch}`);
      if (who !== wanted)
        found.push(`decision ${id} is ${decision}, but the witness at ${branch} is ${who ? `of ${who}` : 'missing'}`);
    }
    if (decision === 'COMMIT' && orders && orders.get(gid) !== 'CONFIRMED')
      found.push(`decision ${id} is COMMIT, its order ${gid} is ${orders.get(gid) ?? 'missing'}`);
  }
  return found;
}

/** Decisions that an operator has closed without their branches. */
async function settledByHand(databases: Databases, rows: readonly DecisionRow[]): Promise<Set<string>> {
  if (!databases.has('order', tableNames.operation)) return new Set();
  const sql = `SELECT subject_id AS id FROM ${tableNames.operation} WHERE subject_id IN (?) AND action = 'done'`;
  const closed = await databases.query<{ id: string }>('order', sql, [rows.map(({ id }) => id)]);
  return new Set(closed.map(({ id }) => id));
}

interface Witness {
  gtrid: string;
  branch: string;
  who: string;
}

async function witnessesOf(databases: Databases, rows: readonly DecisionRow[]): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const app of branchApps(databases)) {
    const sql = `SELECT gtrid, branch, who FROM ${tableNames.xaWitness} WHERE gtrid IN (?)`;
    const left = await databases.query<Witness>(app, sql, [rows.map((row) => row.gtrid)]);
    for (const { gtrid, branch, who } of left) found.set(`${gtrid} ${branch}`, who);
  }
  return found;
}

async function ordersOf(databases: Databases, rows: readonly DecisionRow[]): Promise<Map<string, string> | null> {
  if (!databases.has('order', 'orders')) return null;
  const sql = 'SELECT order_id AS id, status FROM orders WHERE order_id IN (?)';
  const gids = rows.map(({ gid }) => gid);
  const orders = await databases.query<{ id: string; status: string }>('order', sql, [gids]);
  return new Map(orders.map(({ id, status }) => [id, status]));
}

/**
 * Branches that have taken effect without a decision. Witnesses are removed before their decisions. Transactions that an
 * operator has examined, since the log had lost its end, are settled.
 */
async function witnessesWithoutDecision(
  databases: Databases,
  logId: string,
  { trustedFromMs }: LogState,
): Promise<string[]> {
  const found: string[] = [];
  for (const app of branchApps(databases)) {
    for (let after: string | null = ''; after !== null; ) {
      const sql = `SELECT DISTINCT gtrid FROM ${tableNames.xaWitness} WHERE gtrid > ? AND gtrid LIKE ? ORDER BY gtrid LIMIT ${CHUNK}`;
      const rows: Array<{ gtrid: string }> = await databases.query<{ gtrid: string }>(app, sql, [after, `${logId}.%`]);
      const ids = rows.map(({ gtrid }) => gtrid.slice(-36)).filter((id) => (idTimeMs(id) ?? 0) >= trustedFromMs);
      const decided = await decidedOf(databases, ids);
      const undecided = ids.filter((id) => !decided.has(id));
      found.push(...undecided.map((id) => `${app}: a witness of ${id}, which has no decision`));
      after = rows.length === CHUNK ? rows[CHUNK - 1]!.gtrid : null;
    }
  }
  return found.slice(0, LISTED_MAX);
}

async function decidedOf(databases: Databases, ids: readonly string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set();
  const rows = await databases.query<{ id: string }>('order', `SELECT id FROM ${tableNames.xa} WHERE id IN (?)`, [ids]);
  return new Set(rows.map(({ id }) => id));
}

/** An order and the decision that made it are one commit. */
async function ordersWithoutDecision(databases: Databases): Promise<string[]> {
  if (!databases.has('order', 'orders')) return [];
  const rows = await databases.query<{ id: string }>(
    'order',
    `SELECT o.order_id AS id FROM orders o LEFT JOIN ${tableNames.xa} x ON x.gid = o.order_id AND x.decision = 'COMMIT'
     WHERE o.scheme = 'xa' AND o.status = 'CONFIRMED' AND x.id IS NULL
       AND o.created_at > UTC_TIMESTAMP(3) - INTERVAL 7 DAY LIMIT ${LISTED_MAX}`,
  );
  return rows.map(({ id }) => `order ${id} is CONFIRMED by xa without a decision to commit`);
}

const branchApps = (databases: Databases): App[] =>
  databases.apps.filter((app) => databases.has(app, tableNames.xaWitness));
