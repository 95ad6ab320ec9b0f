// Invariants of sagas: every saga is over, its barriers let nothing through that contradicts its end, and the orders agree.
import { tableNames } from 'nest-dtx/testing';
import type { Databases } from '../sandbox/database-reader.js';
import type { App } from '../servers/server-set.js';
import type { AuditContext, Check } from './check-types.js';

const CHUNK = 1_000;

interface SagaRow {
  readonly id: string;
  readonly incarnation: string;
  readonly state: string;
}
interface BarrierRow {
  readonly gid: string;
  readonly step: string;
  readonly phase: string;
  readonly op: string;
}
interface SagaFigures extends Record<string, number> {
  sagas: number;
  COMPLETED: number;
  COMPENSATED: number;
  open: number;
}

/** The status of an order whose saga has this end. */
const ORDER_STATUS: Readonly<Record<string, string>> = { COMPLETED: 'CONFIRMED', COMPENSATED: 'CANCELLED' };

export async function checkSagas({ databases, parked }: AuditContext): ReturnType<Check> {
  const waiting = new Set(parked.map(({ gid }) => gid));
  const figures: SagaFigures = { sagas: 0, COMPLETED: 0, COMPENSATED: 0, open: 0 };
  const violations: string[] = [];
  for (const app of databases.apps.filter((one) => databases.has(one, tableNames.saga)))
    for await (const rows of chunksOf(databases, app)) {
      for (const row of rows) violations.push(...count(figures, row, waiting.has(row.id)));
      const byHand = await settledByHand(databases, app, rows);
      const over = rows.filter(({ id, state }) => state in ORDER_STATUS && !byHand.has(id));
      violations.push(...(await disagreements(databases, app, over)));
    }
  return figures.sagas === 0 ? null : { figures, violations };
}

async function* chunksOf(databases: Databases, app: App): AsyncGenerator<SagaRow[]> {
  for (let after: string | null = ''; after !== null; ) {
    const sql = `SELECT id, incarnation, state FROM ${tableNames.saga} WHERE id > ? ORDER BY id LIMIT ${CHUNK}`;
    const rows: SagaRow[] = await databases.query<SagaRow>(app, sql, [after]);
    if (rows.length > 0) yield rows;
    after = rows.length === CHUNK ? rows[CHUNK - 1]!.id : null;
  }
}

/** Counts the saga. Returns a violation if it is neither over nor parked. */
function count(figures: SagaFigures, { id, state }: SagaRow, isParked: boolean): string[] {
  const isOver = state in ORDER_STATUS;
  figures.sagas += 1;
  if (isOver) figures[state] = (figures[state] ?? 0) + 1;
  else figures.open += 1;
  return isOver || isParked ? [] : [`saga ${id} is ${state}, which is not final`];
}

/** Sagas with a step that an operator has settled, or whose direction an operator has decided. */
async function settledByHand(databases: Databases, app: App, rows: readonly SagaRow[]): Promise<ReadonlySet<string>> {
  if (!databases.has(app, tableNames.operation) || rows.length === 0) return new Set();
  const sql = `SELECT subject_id AS id FROM ${tableNames.operation}
    WHERE subject_id IN (?) AND scheme = 'saga' AND action IN ('done', 'reject')`;
  return new Set((await databases.query<{ id: string }>(app, sql, [rows.map(({ id }) => id)])).map(({ id }) => id));
}

async function disagreements(databases: Databases, initiator: App, sagas: readonly SagaRow[]): Promise<string[]> {
  if (sagas.length === 0) return [];
  const states = new Map(sagas.map(({ id, state }) => [id, state]));
  const found: string[] = [];
  for (const app of databases.apps.filter((one) => databases.has(one, tableNames.sagaBarrier))) {
    const sql = `SELECT gid, step, phase, op FROM ${tableNames.sagaBarrier}
      WHERE initiator = ? AND (gid, incarnation) IN (?) ORDER BY gid, step, phase`;
    const names = sagas.map(({ id, incarnation }) => [id, incarnation]);
    for (const [name, ops] of opsByStep(await databases.query<BarrierRow>(app, sql, [initiator, names]))) {
      const [gid, step] = JSON.parse(name) as [string, string];
      const state = states.get(gid)!;
      if (contradicts(state, ops)) found.push(`saga ${gid} is ${state}, but ${step} has let through: ${ops}`);
    }
  }
  return [...found, ...(await wrongOrders(databases, states))];
}

function opsByStep(rows: readonly BarrierRow[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const { gid, step, op } of rows) {
    const name = JSON.stringify([gid, step]);
    found.set(name, `${found.get(name) ?? ''} ${op}`.trim());
  }
  return found;
}

/** A completed saga has undone nothing. A compensated one has undone each Do, and its pivot has none. */
function contradicts(state: string, ops: string): boolean {
  return state === 'COMPLETED' ? ops !== 'do' : ops === 'do' || ops.includes('broken');
}

async function wrongOrders(databases: Databases, states: ReadonlyMap<string, string>): Promise<string[]> {
  if (!databases.has('order', 'orders')) return [];
  const sql = `SELECT order_id AS id, status FROM orders WHERE order_id IN (?) AND scheme = 'saga'`;
  const rows = await databases.query<{ id: string; status: string }>('order', sql, [[...states.keys()]]);
  const orders = new Map(rows.map(({ id, status }) => [id, status]));
  return [...states]
    .filter(([id, state]) => orders.get(id) !== ORDER_STATUS[state])
    .map(([id, state]) => `saga ${id} is ${state}, its order is ${orders.get(id) ?? 'missing'}`);
}
