import { Injectable, OnModuleInit } from '@nestjs/common';
import { isoTime } from '../core/durable/alerts.js';
import type { TableRow } from '../core/durable/durable-table.js';
import { Operations, type TracedRow, type TraceReader } from '../core/durable/operations-registry.js';
import { TRACED_ROWS_MAX } from '../core/durable/row-views.js';
import { SCHEME } from './failpoints.js';

/** The calls of a transaction that this app has let through its barrier. A row is final as soon as it exists. */
export const BARRIER_TRACE: TraceReader = {
  source: 'dtx_tcc_barrier',
  async read(sql, gid) {
    const rows = await sql.query<TableRow[]>(
      `SELECT gid, branch, phase, op, participant, initiator, created_at FROM dtx_tcc_barrier WHERE gid = ?
       ORDER BY created_at LIMIT ${TRACED_ROWS_MAX + 1}`,
      [gid],
    );
    return rows.map(barrierRow);
  },
};

function barrierRow({ gid, branch, phase, op, participant, initiator, created_at: at }: TableRow): TracedRow {
  // A Cancel that found no Try takes the place of the Try, so a late one does nothing.
  const word = phase === 'try' && op === 'cancel' ? 'refuses a late try' : String(op);
  const createdAt = isoTime(at)!;
  return {
    source: BARRIER_TRACE.source,
    id: `${gid}.${branch}.${phase}`,
    gid: String(gid),
    scheme: SCHEME,
    what: `${participant} ${word}`,
    state: 'APPLIED',
    attempts: 0,
    nextAttemptAt: null,
    lastError: null,
    createdAt,
    timeline: [{ at: createdAt, event: 'recorded' }],
    details: { branch: Number(branch), phase, op, participant, initiator },
    message: null,
  };
}

/** Adds the barrier to the traces of this app. */
@Injectable()
export class BarrierTrace implements OnModuleInit {
  constructor(private readonly operations: Operations) {}

  onModuleInit(): void {
    this.operations.registerTrace(BARRIER_TRACE);
  }
}
