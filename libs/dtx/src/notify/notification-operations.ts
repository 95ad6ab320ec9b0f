import { Injectable, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../core/database/database.service.js';
import { sqlOf } from '../core/database/sql.js';
import { Alerts, isoTime } from '../core/durable/alerts.js';
import { Operations, type TimelineEntry } from '../core/durable/operations.js';
import { DurableOperations, type OperableTable } from '../core/durable/table-operations.js';
import { Deliveries } from './delivery.js';
import { SCHEME } from './failpoints.js';

/** What a person may do with notifications that are not delivered: call again now, or take as told. */
@Injectable()
export class NotifyOperations implements OnModuleInit {
  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    private readonly deliveries: Deliveries,
    private readonly operations: Operations,
  ) {}

  onModuleInit(): void {
    const shape: OperableTable = {
      table: 'dtx_notification',
      scheme: SCHEME,
      openStates: ['PENDING', 'PARKED'],
      retryState: "'PENDING'",
      what: (row) => `${row.type} to ${row.target_host}`,
      timeline,
      resolve,
      wake: () => this.deliveries.wake(),
    };
    this.operations.register(new DurableOperations(shape, this.database, this.alerts));
  }
}

/** What was told is a fact: there is nothing that could be refused. */
async function resolve(tx: EntityManager, row: { id: string }, outcome: 'done' | 'reject'): Promise<boolean> {
  if (outcome === 'reject') return false;
  await sqlOf(tx).query(
    `UPDATE dtx_notification SET state = 'CLOSED', next_attempt_at = NULL, claim_token = NULL, settled_at = UTC_TIMESTAMP(3) WHERE id = ?`,
    [row.id],
  );
  return true;
}

function timeline(row: Record<string, unknown>): TimelineEntry[] {
  const end = row.state === 'DELIVERED' ? `${row.target_host} has taken it` : 'closed by hand';
  const moments: Array<[unknown, string]> = [
    [row.created_at, 'recorded by the notification service'],
    [row.settled_at, end],
  ];
  return moments.filter(([at]) => at).map(([at, event]) => ({ at: isoTime(at)!, event }));
}
