import { Injectable, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../core/database/database.service.js';
import { sqlOf } from '../core/database/sql.js';
import { Alerts, isoTime } from '../core/durable/alerts.js';
import { Operations, type TimelineEntry } from '../core/durable/operations.js';
import { DurableOperations, type OperableTable } from '../core/durable/table-operations.js';
import { SCHEME } from './failpoints.js';
import { Relay } from './relay.js';

/** What a person may do with messages that are not done: send now, or take as settled. */
@Injectable()
export class LocalMessageOperations implements OnModuleInit {
  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    private readonly relay: Relay,
    private readonly operations: Operations,
  ) {}

  onModuleInit(): void {
    const shape: OperableTable = {
      table: 'dtx_outbox',
      scheme: SCHEME,
      openStates: ['PENDING', 'SENT', 'PARKED'],
      retryState: "'PENDING'",
      what: (row) => `${row.contract} v${row.version} to ${String(row.awaiting).slice(1, -1) || 'all its consumers'}`,
      timeline,
      resolve,
      wake: () => this.relay.wake(),
    };
    this.operations.register(new DurableOperations(shape, this.database, this.alerts));
  }
}

/** A sender has no refusal path: what is refused is refused at a receiver. */
async function resolve(tx: EntityManager, row: { id: string }, outcome: 'done' | 'reject'): Promise<boolean> {
  if (outcome === 'reject') return false;
  await sqlOf(tx).query(
    `UPDATE dtx_outbox SET state = 'DONE', next_attempt_at = NULL, claim_token = NULL, done_at = UTC_TIMESTAMP(3) WHERE id = ?`,
    [row.id],
  );
  return true;
}

function timeline(row: Record<string, unknown>): TimelineEntry[] {
  const moments: Array<[unknown, string]> = [
    [row.created_at, 'committed with the business'],
    [row.sent_at, 'confirmed by the broker for the first time'],
    [row.done_at, 'every consumer has settled it'],
  ];
  return moments.filter(([at]) => at).map(([at, event]) => ({ at: isoTime(at)!, event }));
}
