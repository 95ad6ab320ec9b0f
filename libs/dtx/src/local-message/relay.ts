// Step 2 of 6 - relay: publishes committed rows with a publisher confirm, then marks them SENT. Step 6 is the resend of
// rows with missing receipts. If the process dies, another instance's scan sends its rows after the lease has expired.
import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { backoffSql } from '../core/async/backoff.js';
import { Batcher } from '../core/async/batcher.js';
import { Broker } from '../core/broker/broker.service.js';
import { Nacked, Unroutable } from '../core/broker/confirm-publisher.js';
import { typeOf } from '../core/broker/envelope.js';
import { queueOf, receiptQueueOf } from '../core/broker/message-contract.js';
import { Database } from '../core/database/database.service.js';
import { sqlOf } from '../core/database/transaction-sql-executor.js';
import { Alerts } from '../core/durable/alerts.js';
import type { DurableLoop, Tried } from '../core/durable/durable-loop.js';
import { DurableLoops } from '../core/durable/loop-factory.js';
import { Unreceipted } from '../core/durable/resend-or-give-up.js';
import { QueueWatch } from '../core/durable/unattended-queues.js';
import { textOf } from '../core/errors/errors.js';
import { failpoint } from '../core/failpoint.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { libraryLogger } from '../core/library-logger.js';
import type { CoreOptions } from '../core/options.js';
import { emit } from '../core/telemetry-events.js';
import { DoneAtConfirm } from './done-at-confirm.js';
import { failpoints, SCHEME } from './failpoints.js';
import { LOCAL_MESSAGE_OPTIONS, type LocalMessageOptions } from './options.js';
import { destinationOf } from './outbox-route.js';
import { OUTBOX, type OutboxRow } from './outbox-table.js';
import { resolveMessage } from './resolution.js';

/** The part of the window that due rows leave to fresh ones. */
const FRESH_SHARE = 1 / 4;

/**
 * Sends messages. The fast path takes rows that this process has just committed and still leases. The scan takes rows
 * whose process died or whose receipts are missing. Both run the same code.
 */
@Injectable()
export class Relay implements OnModuleInit, OnModuleDestroy {
  private readonly logger = libraryLogger('relay');
  private readonly loop: DurableLoop<OutboxRow>;
  private readonly sentMarks: Batcher<OutboxRow>;
  private readonly unreceipted: Unreceipted;
  private readonly doneAtConfirm: DoneAtConfirm;

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    alerts: Alerts,
    queueWatch: QueueWatch,
    loops: DurableLoops,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(LOCAL_MESSAGE_OPTIONS) private readonly options: LocalMessageOptions,
  ) {
    this.sentMarks = new Batcher({ delayMs: options.markDelayMs, batchMax: options.markBatchMax }, (rows) =>
      failpoint(failpoints.marked, () => this.markSent(rows)),
    );
    this.doneAtConfirm = new DoneAtConfirm(database, broker.publisher, queueWatch, alerts, options);
    this.unreceipted = new Unreceipted(OUTBOX, database, broker.publisher, alerts, options);
    this.loop = loops.create<OutboxRow>({
      scheme: SCHEME,
      table: OUTBOX,
      leaseMs: core.leaseMs,
      scanIntervalMs: core.scanIntervalMs,
      concurrencyMax: options.relayWindowMax,
      perKeyMax: Math.min(options.consumerWindowMax, options.relayWindowMax),
      surplusMax: options.relayWindowMax,
      freshMin: Math.floor(options.relayWindowMax * FRESH_SHARE),
      attemptsMax: options.attemptsMax,
      backoff: options.resend,
      canRun: () => broker.publisher.isUp,
      run: (row) => this.run(row),
      resolve: (tx, row, outcome) => resolveMessage(sqlOf(tx), row, outcome),
      writeMarks: () => this.sentMarks.drain(),
      describe: (row) => ({ gid: row.gid, step: stepOf(row) }),
    });
  }

  onModuleInit(): void {
    this.database.onReady(() => this.loop.start());
    this.broker.publisher.on('up', () => this.loop.wake());
  }

  /** Finishes the sends in work and writes the collected marks. Remaining rows become due when their lease expires. */
  async onModuleDestroy(): Promise<void> {
    await this.loop.stop();
    await Promise.all([this.sentMarks.drain(), this.doneAtConfirm.drain()]);
  }

  /** The fast path. If the window is full or the broker is unavailable, the row waits until its lease expires. */
  sendNow(row: OutboxRow): void {
    if (this.broker.publisher.isUp && this.loop.room > 0) this.loop.runNow(row, { takesShare: false });
  }

  /** Scans when a delayed message is due, if this process learns of it before its next scan. */
  dueIn(delayMs: number): void {
    this.loop.dueIn(delayMs);
  }

  wake(): void {
    this.loop.wake();
  }

  /** Drops the SENT marks of messages whose receipts are all in. They are DONE already. */
  receipted(receipts: ReadonlyMap<string, string>): void {
    this.sentMarks.drop((row) => row.awaiting === `,${receipts.get(row.id)},`);
    this.unreceipted.receipted(receipts);
  }

  private async run(row: OutboxRow): Promise<Tried> {
    if (!row.fresh) {
      const tried = await this.beforeResend(row);
      if (tried) return tried;
    }
    try {
      await failpoint(failpoints.confirmed, () => this.publish(row));
    } catch (error) {
      if (error instanceof Unroutable) return { kind: 'failed', error: error.message };
      if (error instanceof Nacked) return this.unreceipted.afterNack(error, Number(row.made_at_ms));
      throw error; // The broker is unavailable. The loop counts no attempt, and the row is due when its lease expires.
    }
    // Not awaited, so that the window only bounds publishing. If the mark fails, the scan sends a duplicate.
    const marks = row.route === null ? this.sentMarks : this.doneAtConfirm;
    marks
      .add(row)
      .catch((error) =>
        this.logger.warn(
          `cannot mark ${row.id} in ${this.database.names.inDatabase('dtx_outbox')}, resending it when its lease expires: ${textOf(error)}`,
        ),
      );
    return { kind: 'settled' };
  }

  /** The result for a claimed row that must wait or be parked, or null if the row is to be sent. */
  private async beforeResend(row: OutboxRow): Promise<Tried | null> {
    await this.tookUp(row);
    if (row.route !== null) return null;
    const { id, gid, version, sent_at: sentAt } = row;
    const message = { scheme: SCHEME, id, gid, step: stepOf(row), sentAt, version, awaiting: awaitingOf(row) };
    return this.unreceipted.beforeSend(row, { ...message, kind: 'work' });
  }

  /** A message with a delay begins when it is due. A withdrawn one never does. */
  private async tookUp({ state, id, gid }: OutboxRow): Promise<void> {
    if (state !== 'SCHEDULED') return failpoint(failpoints.claimed, async () => {});
    emit('started', { scheme: SCHEME, id, gid });
    await failpoint(failpoints.due, async () => {});
  }

  private async publish(row: OutboxRow): Promise<void> {
    const body = Buffer.from(row.payload);
    const envelope = {
      messageId: row.id,
      type: typeOf({ name: row.contract, version: row.version }),
      gid: row.gid,
      scheme: SCHEME,
      replyTo: row.route === null ? receiptQueueOf(this.core.app) : undefined,
      traceparent: row.traceparent ?? undefined,
      madeAtMs: Number(row.made_at_ms),
    };
    const queues = awaitingOf(row).map((consumer) => queueOf(consumer, row.version));
    if (row.route !== null) return this.doneAtConfirm.publish(JSON.parse(row.route), queues, body, envelope);
    await Promise.all(queues.map((queue) => this.broker.publisher.publish(queue, body, envelope)));
  }

  /** Marks rows only forward, since a receipt may have made a row DONE, and only under the claim that sent them. */
  private async markSent(rows: OutboxRow[]): Promise<void> {
    for (const token of new Set(rows.map((row) => row.claim_token))) {
      const ids = rows.filter((row) => row.claim_token === token).map((row) => row.id);
      await this.database.own.query(
        `UPDATE dtx_outbox SET state = 'SENT', next_attempt_at = ${backoffSql(this.options.resend, '(attempts + 1)')},
         attempts = attempts + 1, claim_token = NULL, sent_at = COALESCE(sent_at, UTC_TIMESTAMP(3))
         WHERE id IN (?) AND claim_token = ? AND state IN ('PENDING', 'SENT')`,
        [ids.sort(), token],
      );
    }
  }
}

function stepOf(row: OutboxRow): string {
  return `sending ${row.contract} to ${destinationOf(row)}`;
}

function awaitingOf({ awaiting }: OutboxRow): string[] {
  return awaiting.split(',').filter(Boolean);
}
