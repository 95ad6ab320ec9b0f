import { Injectable, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Database } from '../core/database/database.service.js';
import { sqlOf } from '../core/database/sql.js';
import { Alerts, isoTime } from '../core/durable/alerts.js';
import { Operations, type TimelineEntry } from '../core/durable/operations.js';
import { DurableOperations, type OperableTable } from '../core/durable/table-operations.js';
import { SCHEME } from './failpoints.js';
import { ParkedCopies } from './parked-prepared-messages.js';
import { halfMessage } from './prepared-messages.js';
import { Sweeper } from './sweeper.js';
import { Verdicts } from './verdicts.js';
import { trustVerdicts, VERDICTS_LOST } from './whole.js';

type Row = { id: string; [column: string]: unknown };

/** What a person may do with verdicts that are not sent, and with copies that no check could settle. */
@Injectable()
export class HalfMessageOperations implements OnModuleInit {
  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    private readonly verdicts: Verdicts,
    private readonly parked: ParkedCopies,
    private readonly sweeper: Sweeper,
    private readonly operations: Operations,
  ) {}

  onModuleInit(): void {
    for (const shape of [this.verdictShape(), this.copyShape()])
      this.operations.register(new DurableOperations(shape, this.database, this.alerts));
  }

  private verdictShape(): OperableTable {
    return {
      table: 'dtx_half',
      scheme: SCHEME,
      openStates: ['COMMITTED', 'SENT', 'PARKED'],
      retryState: "'COMMITTED'",
      what: (row) =>
        `half message ${row.contract} v${row.version} to ${String(row.awaiting ?? row.consumers).replaceAll(/^,|,$/g, '') || 'all its consumers'}`,
      timeline: verdictTimeline,
      resolve: settleVerdict,
      wake: () => this.sweeper.wake(),
    };
  }

  private copyShape(): OperableTable {
    return {
      table: 'dtx_half_parked',
      scheme: SCHEME,
      openStates: ['RECHECK', 'PARKED'],
      retryState: "'RECHECK'",
      what: (row) => (row.id === VERDICTS_LOST ? 'the verdicts of half messages' : 'prepared copy without a verdict'),
      timeline: copyTimeline,
      resolve: (tx, row, outcome) => this.settleCopy(tx, row, outcome),
      wake: () => this.parked.wake(),
    };
  }

  /**
   * `reject` rules ROLLED_BACK: the local transaction, should it still come, fails. Not where it has committed (409), nor
   * while it is open (503: end it first). `done` leaves the verdict, should one come, to the sweeper.
   */
  private async settleCopy(tx: EntityManager, row: Row, outcome: 'done' | 'reject'): Promise<boolean> {
    if (row.id === VERDICTS_LOST) {
      if (outcome === 'reject') return false;
      await trustVerdicts(tx);
    } else if (outcome === 'reject') {
      const message = halfMessage.parse(JSON.parse(String(row.message)));
      if ((await this.verdicts.claimIn(sqlOf(tx), message)) !== 'ROLLED_BACK') return false;
    }
    await sqlOf(tx).query(
      `UPDATE dtx_half_parked SET state = 'DONE', next_attempt_at = NULL, claim_token = NULL,
       settled_at = UTC_TIMESTAMP(3) WHERE id = ?`,
      [row.id],
    );
    return true;
  }
}

/** `done`: delivered by hand. What is committed has no refusal path at its producer: the consumers have theirs. */
async function settleVerdict(tx: EntityManager, row: Row, outcome: 'done' | 'reject'): Promise<boolean> {
  if (outcome === 'reject') return false;
  await sqlOf(tx).query(
    `UPDATE dtx_half SET state = 'DONE', next_attempt_at = NULL, claim_token = NULL, done_at = UTC_TIMESTAMP(3) WHERE id = ?`,
    [row.id],
  );
  return true;
}

function verdictTimeline(row: Row): TimelineEntry[] {
  const ruled = row.state === 'ROLLED_BACK' ? 'ruled ROLLED_BACK' : 'COMMITTED with the business';
  const moments: Array<[unknown, string]> = [
    [row.created_at, ruled],
    [row.sent_at, 'confirmed by the broker for the first time'],
    [row.done_at, 'every consumer has settled it'],
  ];
  return moments.filter(([at]) => at).map(([at, event]) => ({ at: isoTime(at)!, event }));
}

function copyTimeline(row: Row): TimelineEntry[] {
  const moments: Array<[unknown, string]> = [
    [row.created_at, 'the last check did not learn whether its local transaction has committed'],
    [row.settled_at, 'settled'],
  ];
  return moments.filter(([at]) => at).map(([at, event]) => ({ at: isoTime(at)!, event }));
}
