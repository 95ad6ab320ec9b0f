// Step 5 for a contract with `inOrderOf` - a receipt ends the head of a key, and its successor is sent. If the process dies
// before the ack, the broker redelivers the receipt. It changes nothing, and the look for the successor is repeated.
import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Broker } from '../../core/broker/broker.service.js';
import { Database } from '../../core/database/database.service.js';
import { Alerts } from '../../core/durable/alerts.js';
import { BackgroundWork } from '../../core/durable/background-work.js';
import { inFuture } from '../../core/durable/claim-and-reschedule.js';
import { type Receipt, ReceiptConsumer } from '../../core/durable/receipt-consumer.js';
import { failpoint } from '../../core/failpoint.js';
import { CORE_OPTIONS } from '../../core/injection-tokens.js';
import type { CoreOptions } from '../../core/options.js';
import { failpoints, SCHEME } from '../failpoints.js';
import { LOCAL_MESSAGE_OPTIONS, type LocalMessageOptions } from '../options.js';
import { KeyedRelay } from './keyed-relay.js';
import { keyedReceiptQueueOf } from './keyed-sender.js';
import { HELD_LOOK_MS, KEYED } from './keyed-table.js';

/** Consumes the receipts of messages with a key. */
@Injectable()
export class KeyedReceipts implements OnModuleInit, OnModuleDestroy {
  private readonly consumer: ReceiptConsumer;

  constructor(
    private readonly database: Database,
    broker: Broker,
    private readonly relay: KeyedRelay,
    private readonly alerts: Alerts,
    background: BackgroundWork,
    @Inject(CORE_OPTIONS) core: CoreOptions,
    @Inject(LOCAL_MESSAGE_OPTIONS) options: LocalMessageOptions,
  ) {
    const messages = {
      scheme: SCHEME,
      table: KEYED,
      awaited: 'm.awaiting',
      queue: keyedReceiptQueueOf(core.app),
      batchMax: options.markBatchMax,
      failpoint: failpoints.done,
      arrived: (receipts: ReadonlyMap<string, string>) => relay.sender.skipMarks(receipts),
      record: (ids: readonly string[], by: Pick<Receipt, 'consumer' | 'outcome'>) => this.record(ids, by),
      // guard: order.released
      recorded: (ids: readonly string[]) => relay.ended(ids),
    };
    this.consumer = new ReceiptConsumer(messages, database, broker, core, background);
  }

  onModuleInit(): void {
    this.relay.onBegin(() => this.database.onReady(() => this.consumer.start()));
  }

  async onModuleDestroy(): Promise<void> {
    await this.consumer.stop();
  }

  private async record(ids: readonly string[], { consumer, outcome }: Pick<Receipt, 'consumer' | 'outcome'>) {
    if (outcome === 'HANDLED') return this.handled(ids, { consumer, onParked: ['wait', 'pass'], note: null });
    const note = `parked at ${consumer}`;
    // guard: order.parked
    await failpoint(failpoints.parkedThere, () => this.parkedThere(ids, { consumer, note }));
    await this.handled(ids, { consumer, onParked: ['pass'], note });
  }

  /**
   * Removes a consumer from `awaiting`. The last one ends the row and lets its successors go. If all others have parked
   * the message, it is HELD. The statement is idempotent and independent of the order in which the server assigns.
   */
  private async handled(
    ids: readonly string[],
    { consumer, onParked, note }: { consumer: string; onParked: readonly string[]; note: string | null },
  ): Promise<void> {
    const rest = 'REPLACE(m.awaiting, r.gone, r.comma)';
    const held = 'REPLACE(m.parked_at, r.gone, r.comma)';
    const isDone = `${rest} = r.comma`;
    // The second list has no consumer that the first one lacks, and is in the order of the receipts.
    const isHeld = `CHAR_LENGTH(${rest}) = CHAR_LENGTH(${held})`;
    const { join, close } = this.alerts.closeWith({ scheme: SCHEME, id: 'm.id', when: `${isDone} OR ${isHeld}` });
    await this.database.own.query(
      `UPDATE dtx_keyed m JOIN ${RECEIPT} ${join.sql} SET
         m.state = IF(${isDone}, 'DONE', IF(${isHeld}, 'HELD', m.state)),
         m.done_at = IF(${isDone}, UTC_TIMESTAMP(3), m.done_at),
         m.open_key = IF(${isDone}, NULL, m.open_key),
         m.next_attempt_at = IF(${isDone}, NULL, IF(${isHeld}, ${inFuture(HELD_LOOK_MS)}, m.next_attempt_at)),
         m.claim_token = IF(${isDone} OR ${isHeld}, NULL, m.claim_token), ${close},
         m.sent_at = COALESCE(m.sent_at, UTC_TIMESTAMP(3)), m.last_error = COALESCE(?, m.last_error),
         m.awaiting = ${rest}, m.parked_at = ${held}
       WHERE m.id IN (?) AND m.state IN (?) AND m.on_parked IN (?)`,
      [`,${consumer},`, ...join.values, note, [...ids].sort(), [...KEYED.openStates], [...onParked]],
    );
  }

  /**
   * Notes that a consumer has parked the message. The alert at the receiver covers it, so no second one is raised here. Once
   * every missing consumer has parked it, the row is HELD, and the receipt HANDLED after a retry or a resolution at the
   * receiver ends it. That receipt may be lost, so a copy asks for the outcome now and then.
   */
  private async parkedThere(
    ids: readonly string[],
    { consumer, note }: { consumer: string; note: string },
  ): Promise<void> {
    const isKnown = 'LOCATE(r.gone, m.parked_at) > 0 OR LOCATE(r.gone, m.awaiting) = 0';
    const held = `IF(${isKnown}, m.parked_at, CONCAT(m.parked_at, SUBSTRING(r.gone, 2)))`;
    // The lists have the same form, and the second one has no consumer that the first one lacks.
    const isHeld = `CHAR_LENGTH(${held}) = CHAR_LENGTH(m.awaiting) AND m.awaiting <> r.comma`;
    const { join, close } = this.alerts.closeWith({ scheme: SCHEME, id: 'm.id', when: isHeld });
    await this.database.own.query(
      `UPDATE dtx_keyed m JOIN ${RECEIPT} ${join.sql} SET
         m.state = IF(${isHeld}, 'HELD', m.state),
         m.next_attempt_at = IF(${isHeld}, ${inFuture(HELD_LOOK_MS)}, m.next_attempt_at),
         m.claim_token = IF(${isHeld}, NULL, m.claim_token), ${close},
         m.sent_at = COALESCE(m.sent_at, UTC_TIMESTAMP(3)), m.last_error = ?, m.parked_at = ${held}
       WHERE m.id IN (?) AND m.state IN (?) AND m.on_parked = 'wait'`,
      [`,${consumer},`, ...join.values, note, [...ids].sort(), [...KEYED.openStates]],
    );
  }
}

/** The consumer of a receipt as `,a.b,`, in the collation of the columns. */
const ASCII = 'CHARACTER SET ascii) COLLATE ascii_bin';
const RECEIPT = `(SELECT CAST(? AS CHAR(70) ${ASCII} AS gone, CAST(',' AS CHAR(1) ${ASCII} AS comma) r`;
