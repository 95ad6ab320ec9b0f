import { backoffSql } from '../../core/async/backoff.js';
import { Batcher } from '../../core/async/batcher.js';
import type { ConfirmPublisher } from '../../core/broker/confirm-publisher.js';
import { typeOf } from '../../core/broker/envelope.js';
import { queueOf, receiptQueueOf } from '../../core/broker/message-contract.js';
import type { Database } from '../../core/database/database.service.js';
import { inFuture } from '../../core/durable/claim-and-reschedule.js';
import { consumersIn } from '../../core/durable/durable-table.js';
import type { Tried } from '../../core/durable/durable-work.js';
import { textOf } from '../../core/errors/errors.js';
import { failpoint } from '../../core/failpoint.js';
import { libraryLogger } from '../../core/library-logger.js';
import { failpoints, SCHEME } from '../failpoints.js';
import type { LocalMessageOptions } from '../options.js';
import { HELD_LOOK_MS, type KeyedRow } from './keyed-table.js';

/**
 * The receipt queue of messages with a key. It is separate, so an instance of a version without keys never takes a
 * receipt that lets a successor go. Receivers of every version accept the name.
 */
export function keyedReceiptQueueOf(app: string): string {
  return receiptQueueOf(`${app}--keyed`);
}

/** Publishes heads with a publisher confirm, and marks them SENT in batches. */
export class KeyedSender {
  private readonly logger = libraryLogger('keyed relay');
  private readonly marks: Batcher<KeyedRow>;

  constructor(
    private readonly database: Database,
    private readonly publisher: ConfirmPublisher,
    private readonly app: string,
    private readonly options: LocalMessageOptions,
  ) {
    this.marks = new Batcher({ delayMs: options.markDelayMs, batchMax: options.markBatchMax }, (rows) =>
      failpoint(failpoints.marked, () => this.markSent(rows)),
    );
  }

  /** @throws Unroutable, Nacked, BrokerUnavailable as `ConfirmPublisher.publish` */
  async send(row: KeyedRow): Promise<void> {
    await failpoint(failpoints.confirmed, () => this.publish(row));
    // Not awaited, so that the window only bounds publishing. If the mark fails, the scan sends a duplicate.
    this.marks
      .add(row)
      .catch((error) =>
        this.logger.warn(
          `cannot mark ${row.id} in ${this.database.names.inDatabase('dtx_keyed')}, resending it when its lease expires: ${textOf(error)}`,
        ),
      );
  }

  /** Drops the SENT marks of messages whose receipts are all in. */
  skipMarks(receipted: ReadonlyMap<string, string>): void {
    this.marks.drop((row) => row.awaiting === `,${receipted.get(row.id)},`);
  }

  async drain(): Promise<void> {
    await this.marks.drain();
  }

  /** A copy of a HELD row waits at its receiver, which does not run. Another one would only make its queue longer. */
  async askLater(row: KeyedRow): Promise<Tried> {
    await this.marks.add(row);
    return { kind: 'settled' };
  }

  private async publish(row: KeyedRow): Promise<void> {
    const body = Buffer.from(row.payload);
    const envelope = {
      messageId: row.id,
      type: typeOf({ name: row.contract, version: row.version }),
      gid: row.gid,
      scheme: SCHEME,
      replyTo: keyedReceiptQueueOf(this.app),
      traceparent: row.traceparent ?? undefined,
      madeAtMs: Number(row.made_at_ms),
    };
    const queues = consumersIn(row.awaiting).map((consumer) => queueOf(consumer, row.version));
    await Promise.all(queues.map((queue) => this.publisher.publish(queue, body, envelope)));
  }

  /**
   * Marks rows only forward and only under the claim that sent them, since a receipt may have ended a row. The copy of a
   * HELD row is a question to its receiver, and not an attempt.
   */
  private async markSent(rows: readonly KeyedRow[]): Promise<void> {
    const backoff = backoffSql(this.options.resend, '(attempts + 1)');
    for (const token of new Set(rows.map((row) => row.claim_token))) {
      const ids = rows.filter((row) => row.claim_token === token).map((row) => row.id);
      await this.database.own.query(
        `UPDATE dtx_keyed SET next_attempt_at = IF(state = 'HELD', ${inFuture(HELD_LOOK_MS)}, ${backoff}),
         attempts = attempts + (state <> 'HELD'), state = IF(state = 'HELD', state, 'SENT'), claim_token = NULL, sent_at = COALESCE(sent_at, UTC_TIMESTAMP(3))
         WHERE id IN (?) AND claim_token = ? AND state IN ('PENDING', 'SENT', 'HELD')`,
        [ids.sort(), token],
      );
    }
  }
}
