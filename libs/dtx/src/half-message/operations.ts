import { Injectable, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Alerts, isoTime } from '../core/alert/alerts.js';
import { Database } from '../core/database/database.service.js';
import { DurableOperations } from '../core/durable/operations.js';
import { Operations, type TimelineEntry } from '../core/operations.js';
import { SCHEME } from './failpoints.js';
import { Sweeper } from './sweeper.js';

/** What a person may do with verdicts that are not sent, and with copies that no check could settle. */
@Injectable()
export class HalfMessageOperations implements OnModuleInit {
  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    private readonly sweeper: Sweeper,
    private readonly operations: Operations,
  ) {}

  onModuleInit(): void {
    const common = {
      scheme: SCHEME,
      openStates: ['PENDING', 'PARKED'],
      retryState: "'PENDING'",
      timeline,
      wake: () => this.sweeper.wake(),
    };
    const verdicts = {
      ...common,
      table: 'dtx_half',
      what: (row: Row) => `${row.contract} v${row.version}, ${row.verdict}`,
      resolve: verdictDone,
    };
    const copies = {
      ...common,
      table: 'dtx_half_parked',
      what: () => 'a prepared copy without a verdict',
      resolve: copyDone,
    };
    for (const shape of [verdicts, copies])
      this.operations.register(new DurableOperations(shape, this.database, this.alerts));
  }
}

type Row = Record<string, unknown>;

/** `done`: the message was delivered by hand. A committed message has no refusal path at its producer. */
async function verdictDone(tx: EntityManager, row: Row, outcome: 'done' | 'reject'): Promise<boolean> {
  if (outcome === 'reject') return false;
  await tx.query(
    `UPDATE dtx_half SET state = 'SENT', next_attempt_at = NULL, claim_token = NULL, sent_at = UTC_TIMESTAMP(3) WHERE id = ?`,
    [row.id],
  );
  return true;
}

/** `done`: nothing is to be published for this copy any more; its verdict, if one comes, is the sweeper's. */
async function copyDone(tx: EntityManager, row: Row, outcome: 'done' | 'reject'): Promise<boolean> {
  if (outcome === 'reject') return false;
  await tx.query(`UPDATE dtx_half_parked SET state = 'DONE', next_attempt_at = NULL, claim_token = NULL WHERE id = ?`, [
    row.id,
  ]);
  return true;
}

function timeline(row: Row): TimelineEntry[] {
  const entries: TimelineEntry[] = [
    { at: isoTime(row.created_at)!, event: row.verdict ? `verdict ${row.verdict}` : 'parked after its last check' },
  ];
  if (row.sent_at) entries.push({ at: isoTime(row.sent_at)!, event: 'confirmed by the broker' });
  return entries;
}
