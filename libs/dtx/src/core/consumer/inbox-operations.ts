import { Injectable, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../database/database.service.js';
import { sqlOf } from '../database/sql.js';
import { Alerts, isoTime } from '../durable/alerts.js';
import { Operations, type TimelineEntry } from '../durable/operations.js';
import { DurableOperations, type OperableTable } from '../durable/table-operations.js';
import { Rejected } from '../errors/errors.js';
import { Inbox } from './inbox.js';
import { HeldDeliveries } from './inbox-retry.js';
import { type HeldRow, incomingOfRow } from './inbox-row.js';

/** What a person may do with deliveries that wait here: retry, take as settled, or refuse. */
@Injectable()
export class InboxOperations implements OnModuleInit {
  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    private readonly held: HeldDeliveries,
    private readonly inbox: Inbox,
    private readonly operations: Operations,
  ) {}

  onModuleInit(): void {
    const shape: OperableTable = {
      table: 'dtx_inbox',
      scheme: null,
      openStates: ['RETRYING', 'PARKED'],
      retryState: "'RETRYING'",
      what: (row) => `${row.type ?? 'message'} at ${row.consumer}`,
      timeline,
      resolve: (tx, row, outcome, note) => this.resolve(tx, row as unknown as HeldRow, outcome, note),
      wake: () => this.held.wake(),
    };
    this.operations.register(new DurableOperations(shape, this.database, this.alerts));
  }

  /** `done` leaves the business as it is; `reject` commits the refusal with the row, so that a later copy is a duplicate. */
  private async resolve(tx: EntityManager, row: HeldRow, outcome: 'done' | 'reject', note: string): Promise<boolean> {
    if (outcome === 'reject') return this.reject(tx, row, note);
    await sqlOf(tx).query(
      `UPDATE dtx_inbox SET state = 'HANDLED', outcome = ?, next_attempt_at = NULL, claim_token = NULL, settled_at = UTC_TIMESTAMP(3) WHERE id = ?`,
      ['by hand', row.id],
    );
    this.receiptAfterCommit(tx, row);
    return true;
  }

  private async reject(tx: EntityManager, row: HeldRow, note: string): Promise<boolean> {
    // Its business is committed: only what comes before the ack is left, and that cannot be refused.
    if (row.settled_at) return false;
    if (!(await this.held.refuse(tx, row, new Rejected('REJECTED_BY_HAND', note)))) return false;
    // Where something comes before the ack, the row stays open for it, and the loop sends the receipt.
    const isLast = !this.held.hasBeforeAck(row);
    const state = isLast
      ? `'HANDLED', next_attempt_at = NULL`
      : `'RETRYING', before_ack = 1, next_attempt_at = UTC_TIMESTAMP(3)`;
    await sqlOf(tx).query(
      `UPDATE dtx_inbox SET state = ${state}, attempts = 0, outcome = 'rejected by hand', claim_token = NULL,
       settled_at = UTC_TIMESTAMP(3) WHERE id = ?`,
      [row.id],
    );
    if (isLast) this.receiptAfterCommit(tx, row);
    return true;
  }

  /** Its loss is harmless: the sender resends what is not receipted, and the duplicate is receipted. */
  private receiptAfterCommit(tx: EntityManager, row: HeldRow): void {
    this.database.hooks.afterCommit(tx, async () => {
      void this.inbox.receipt(incomingOfRow(row), 'HANDLED').catch(() => {});
    });
  }
}

function timeline(row: Record<string, unknown>): TimelineEntry[] {
  const entries: TimelineEntry[] = [{ at: isoTime(row.created_at)!, event: `received by ${row.consumer}` }];
  if (row.settled_at)
    entries.push({ at: isoTime(row.settled_at)!, event: row.outcome ? `settled: ${row.outcome}` : 'handled' });
  return entries;
}
