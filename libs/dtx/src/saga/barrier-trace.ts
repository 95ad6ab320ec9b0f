import { Injectable, OnModuleInit } from '@nestjs/common';
import { isoTime } from '../core/durable/alerts.js';
import type { TableRow } from '../core/durable/durable-table.js';
import { Operations, type TracedRow, type TraceReader } from '../core/durable/operations-registry.js';
import { TRACED_ROWS_MAX } from '../core/durable/row-views.js';
import { BARRIER } from './barrier.js';
import { SCHEME } from './scheme-name.js';

/** The calls of a saga that this app has let through its barrier. A row is final as soon as it exists. */
export const BARRIER_TRACE: TraceReader = {
  source: BARRIER,
  async read(sql, gid) {
    const rows = await sql.query<TableRow[]>(
      `SELECT gid, step, phase, op, reason, initiator, created_at FROM ${BARRIER} WHERE gid = ?
       ORDER BY created_at, phase LIMIT ${TRACED_ROWS_MAX + 1}`,
      [gid],
    );
    return rows.map(barrierRow);
  },
};

function barrierRow(row: TableRow): TracedRow {
  const { gid, step, phase, op, initiator } = row;
  const createdAt = isoTime(row.created_at)!;
  return {
    source: BARRIER,
    id: `${gid}.${step}.${phase}`,
    gid: String(gid),
    scheme: SCHEME,
    what: `${step} ${wordOf(row)}`,
    state: 'APPLIED',
    attempts: 0,
    nextAttemptAt: null,
    lastError: null,
    createdAt,
    timeline: [{ at: createdAt, event: 'recorded' }],
    details: { step, phase, op, initiator },
    message: null,
  };
}

function wordOf({ phase, op, reason }: TableRow): string {
  if (op === 'refused') return `refused: ${reason}`;
  // An Undo or a fence that found no Do takes the place of the Do, so a late one does nothing.
  if (phase === 'do' && op === 'undo') return 'refuses a late do';
  return String(op);
}

/** Adds the barrier to the traces of this app. */
@Injectable()
export class BarrierTrace implements OnModuleInit {
  constructor(private readonly operations: Operations) {}

  onModuleInit(): void {
    this.operations.registerTrace(BARRIER_TRACE);
  }
}
