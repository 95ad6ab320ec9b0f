import { Injectable, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../core/database/database.service.js';
import { sqlOf } from '../core/database/sql.js';
import { Alerts, isoTime } from '../core/durable/alerts.js';
import { Operations, type TimelineEntry } from '../core/durable/operations.js';
import { DurableOperations, type OperableTable } from '../core/durable/table-operations.js';
import { SCHEME } from './failpoints.js';
import { isLogFault } from './incidents.js';
import { DecisionLog } from './log.js';
import { SecondPhase } from './second-phase.js';
import { SENTINEL } from './xa-tables.js';

/** What a person may do with decisions that are not carried out, and with heuristic outcomes. */
@Injectable()
export class XaOperations implements OnModuleInit {
  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    private readonly secondPhase: SecondPhase,
    private readonly log: DecisionLog,
    private readonly operations: Operations,
  ) {}

  onModuleInit(): void {
    const shape: OperableTable = {
      table: 'dtx_xa',
      scheme: SCHEME,
      openStates: ['COMMITTING', 'ROLLING_BACK', 'PARKED'],
      // Never flipped: a retry goes on with what was decided.
      retryState: `CASE decision WHEN 'COMMIT' THEN 'COMMITTING' WHEN 'ROLLBACK' THEN 'ROLLING_BACK' ELSE 'PARKED' END`,
      below: SENTINEL,
      what: (row) =>
        isLogFault(row.id)
          ? 'the decision log of XA'
          : `XA transaction over ${row.branches}, decision ${row.decision ?? 'not known'}`,
      timeline,
      resolve: async (tx, row, outcome) => {
        if (isLogFault(row.id) ? !(await this.log.settle(tx, row.id, outcome)) : outcome === 'reject') return false;
        await close(tx, row.id);
        return true;
      },
      wake: () => this.secondPhase.wake(),
    };
    this.operations.register(new DurableOperations(shape, this.database, this.alerts));
  }
}

/** Settled by hand, as what was decided; a decision is never reversed, and there is no other way to refuse. */
async function close(tx: EntityManager, id: string): Promise<void> {
  await sqlOf(tx).query(
    `UPDATE dtx_xa SET state = 'DONE', next_attempt_at = NULL, claim_token = NULL, done_at = UTC_TIMESTAMP(3) WHERE id = ?`,
    [id],
  );
}

function timeline(row: Record<string, unknown>): TimelineEntry[] {
  if (isLogFault(String(row.id))) return [{ at: isoTime(row.created_at)!, event: 'found' }];
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
