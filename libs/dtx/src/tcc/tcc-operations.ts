import { Injectable, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../core/database/database.service.js';
import { sqlOf } from '../core/database/sql.js';
import { Alerts, isoTime } from '../core/durable/alerts.js';
import { Operations, type TimelineEntry } from '../core/durable/operations.js';
import { DurableOperations, type OperableTable } from '../core/durable/table-operations.js';
import { SCHEME } from './failpoints.js';
import { SecondPhase } from './second-phase.js';

/** What a person may do with TCC transactions that are not over. */
@Injectable()
export class TccOperations implements OnModuleInit {
  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    private readonly secondPhase: SecondPhase,
    private readonly operations: Operations,
  ) {}

  onModuleInit(): void {
    const shape: OperableTable = {
      table: 'dtx_tcc',
      scheme: SCHEME,
      openStates: ['TRYING', 'CONFIRMING', 'CANCELLING', 'PARKED'],
      // Never flipped: a retry goes on with what was decided.
      retryState: `CASE decision WHEN 'CONFIRM' THEN 'CONFIRMING' WHEN 'CANCEL' THEN 'CANCELLING' ELSE 'TRYING' END`,
      what: (row) => `TCC transaction${row.reason ? `, ${row.reason}` : ''}`,
      timeline,
      resolve,
      wake: () => this.secondPhase.wake(),
    };
    this.operations.register(new DurableOperations(shape, this.database, this.alerts));
  }
}

/** Only a decided one can be settled by hand, as what was decided; a decision is never reversed. */
async function resolve(
  tx: EntityManager,
  row: { id: string; [column: string]: unknown },
  outcome: 'done' | 'reject',
): Promise<boolean> {
  if (outcome === 'reject' || !row.decision) return false;
  await sqlOf(tx).query(
    `UPDATE dtx_tcc SET state = IF(decision = 'CONFIRM', 'CONFIRMED', 'CANCELLED'), next_attempt_at = NULL,
       claim_token = NULL, settled_at = UTC_TIMESTAMP(3) WHERE id = ?`,
    [row.id],
  );
  return true;
}

function timeline(row: Record<string, unknown>): TimelineEntry[] {
  const moments: Array<[unknown, string]> = [
    [row.created_at, 'registered with all its branches'],
    [row.decided_at, `decided to ${row.decision}${row.reason ? ` (${row.reason})` : ''}`],
    [row.settled_at, 'carried out by every branch'],
  ];
  let last = '';
  return moments
    .filter(([at]) => at)
    .map(([at, event]) => {
      // The decision's time is this process's reckoning of the database's clock: it must not seem to come after its effect.
      const time = isoTime(at)!;
      last = time > last ? time : last;
      return { at: last, event };
    });
}
