import { Injectable, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Alerts, isoTime } from '../core/alert/alerts.js';
import { Database } from '../core/database/database.service.js';
import { sqlOf } from '../core/database/sql.js';
import { DurableOperations, type OperableTable } from '../core/durable/operations.js';
import { Operations, type TimelineEntry } from '../core/operations.js';
import { SCHEME } from './failpoints.js';
import { SecondPhase } from './second-phase.js';

/** What a person may do with decisions that are not carried out, and with heuristic outcomes. */
@Injectable()
export class XaOperations implements OnModuleInit {
  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    private readonly secondPhase: SecondPhase,
    private readonly operations: Operations,
  ) {}

  onModuleInit(): void {
    const shape: OperableTable = {
      table: 'dtx_xa',
      scheme: SCHEME,
      openStates: ['COMMITTING', 'ROLLING_BACK', 'PARKED'],
      // Never flipped: a retry goes on with what was decided.
      retryState: `CASE decision WHEN 'COMMIT' THEN 'COMMITTING' WHEN 'ROLLBACK' THEN 'ROLLING_BACK' ELSE 'PARKED' END`,
      what: (row) => `XA transaction over ${row.branches}, decision ${row.decision ?? 'not known'}`,
      timeline,
      resolve,
      wake: () => this.secondPhase.wake(),
    };
    this.operations.register(new DurableOperations(shape, this.database, this.alerts));
  }
}

/** Settled by hand, as what was decided; a decision is never reversed, and there is no other way to refuse. */
async function resolve(
  tx: EntityManager,
  row: { id: string; [column: string]: unknown },
  outcome: 'done' | 'reject',
): Promise<boolean> {
  if (outcome === 'reject') return false;
  await sqlOf(tx).query(
    `UPDATE dtx_xa SET state = 'DONE', next_attempt_at = NULL, claim_token = NULL, done_at = UTC_TIMESTAMP(3) WHERE id = ?`,
    [row.id],
  );
  return true;
}

function timeline(row: Record<string, unknown>): TimelineEntry[] {
  const moments: Array<[unknown, string]> = [
    [row.created_at, `begun on ${row.branches}`],
    [
      row.decided_at,
      row.decision ? `decided to ${row.decision}` : 'found prepared, with no decision that is remembered',
    ],
    [row.done_at, 'carried out at every branch'],
  ];
  return moments.filter(([at]) => at).map(([at, event]) => ({ at: isoTime(at)!, event }));
}
