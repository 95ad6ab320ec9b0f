import { z } from 'zod';
import { Batcher } from '../async/batcher.js';
import type { Broker } from '../broker/broker.service.js';
import type { ConsumedQueue, Delivery } from '../broker/consumed-queue.js';
import { printable } from '../broker/printable.js';
import type { Database } from '../database/database.service.js';
import { type SqlStatement, together } from '../database/insert-first.js';
import { isUnavailable } from '../errors/sql-errors.js';
import { type Failpoint, failpoint } from '../failpoint.js';
import { libraryLogger } from '../library-logger.js';
import type { CoreOptions } from '../options.js';
import { emit } from '../telemetry-events.js';
import { closingOfEnded } from './alerts.js';
import type { BackgroundWork } from './background-work.js';
import type { DurableTable } from './durable-table.js';

/** ASCII, like the compared columns. The server rejects a comparison with other characters. */
const ascii = (lengthMax: number) => z.string().regex(new RegExp(`^[!-~]{1,${lengthMax}}$`));
const receiptsBody = z.object({
  receipts: z.array(z.object({ messageId: ascii(64), consumer: ascii(65), outcome: z.enum(['HANDLED', 'PARKED']) })),
});
const GATHER_MS = 5;
const PREFETCH = 200;

/** A receipt: the consumer has settled the message, so the sender stops resending. */
export interface Receipt {
  readonly messageId: string;
  readonly consumer: string;
  readonly outcome: 'HANDLED' | 'PARKED';
}

/** The messages of one table, which are done when each of their consumers has sent a receipt. */
export interface Receipted {
  readonly scheme: string;
  /**
   * A durable table with the columns `awaiting` (the consumers without a receipt, as `,a.b,c.d,`), `sent_at` and
   * `done_at`.
   */
  readonly table: DurableTable;
  /** The awaited consumers of a row `m`, as SQL. */
  readonly awaited: string;
  readonly queue: string;
  readonly batchMax: number;
  /** The failpoint around the update. */
  readonly failpoint: Failpoint;
  /** Receives the last consumer of each message before the update. */
  arrived(receipts: ReadonlyMap<string, string>): void;
  /** Records receipts instead of the usual statement. It must be idempotent, since a receipt may be redelivered. */
  record?(ids: readonly string[], by: Pick<Receipt, 'consumer' | 'outcome'>): Promise<void>;
  /** Runs after the update and before the ack, so it is repeated if the process dies meanwhile. */
  recorded?(ids: readonly string[]): Promise<void>;
}

/**
 * Consumes the receipts of one table. Any instance may take any receipt, and one statement records many. If the process
 * dies before the ack, the receipt is redelivered and changes nothing more.
 */
export class ReceiptConsumer {
  private readonly logger = libraryLogger('receipts');
  private readonly marks: Batcher<Receipt[]>;
  private consumer: ConsumedQueue | undefined;

  constructor(
    private readonly of: Receipted,
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly core: CoreOptions,
    private readonly background: BackgroundWork,
  ) {
    this.marks = new Batcher({ delayMs: GATHER_MS, batchMax: of.batchMax }, async (groups) => {
      const receipts = groups.flat();
      await failpoint(of.failpoint, () => this.markDone(receipts));
      await of.recorded?.(receipts.map(({ messageId }) => messageId));
    });
  }

  start(): void {
    const { queue, table } = this.of;
    const receive = (one: Delivery) => this.receive(one);
    if (this.background.isContinuous) this.consumer = this.broker.consume(queue, receive, { prefetch: PREFETCH });
    this.background.register({
      name: `receipts of ${table.name}`,
      phase: 'receive',
      runOnce: async (until) => (this.consumer ? 0 : this.broker.drain(queue, receive, { prefetch: PREFETCH, until })),
    });
  }

  async stop(): Promise<void> {
    await this.consumer?.stop(this.core.drainMs);
  }

  private async receive(delivery: Delivery): Promise<void> {
    const receipts = parse(delivery.message.content);
    if (!receipts)
      this.logger.warn(
        `discarded an invalid receipt from queue ${this.broker.publisher.nameAtBroker(this.of.queue)}; without a valid one the message is sent again, ` +
          `so check who publishes there: ${printable(delivery.message.content)}`,
      );
    else await this.marked(receipts, delivery.lost);
    // A receipt whose ack is lost is redelivered and changes nothing.
    delivery.ack();
  }

  private async marked(receipts: Receipt[], lost: AbortSignal): Promise<void> {
    for (;;) {
      try {
        return await this.marks.add(receipts);
      } catch (error) {
        if (lost.aborted || !isUnavailable(error)) throw error;
        await new Promise((resolve) => setTimeout(resolve, this.core.reconnect.firstMs));
      }
    }
  }

  /** Each statement commits alone. A receipt whose update is lost is redelivered. */
  private async markDone(receipts: Receipt[]): Promise<void> {
    const { scheme } = this.of;
    this.of.arrived(new Map(receipts.map(({ messageId, consumer }) => [messageId, consumer])));
    for (const consumer of new Set(receipts.map((receipt) => receipt.consumer))) {
      for (const outcome of ['HANDLED', 'PARKED'] as const) {
        const ids = receipts.filter((r) => r.consumer === consumer && r.outcome === outcome).map((r) => r.messageId);
        if (ids.length === 0) continue;
        if (this.of.record) await this.of.record(ids.sort(), { consumer, outcome });
        else await this.takeOff(ids.sort(), { consumer, outcome });
      }
    }
    for (const { messageId } of receipts)
      emit('settled', { scheme, ms: this.database.ageMs(messageId), id: messageId });
  }

  /**
   * Removes a consumer from `awaiting`. The last receipt sets DONE. A PARKED receipt counts too, because the alert at the
   * receiver covers the delivery. The rows and their alerts change in one packet, and not in one statement: an UPDATE of two
   * tables writes a temporary table, which costs the server more than all the rest. If the process dies between the two,
   * the receipt is redelivered, finds no open row, and closes the alert.
   */
  private async takeOff(ids: string[], by: Pick<Receipt, 'consumer' | 'outcome'>): Promise<void> {
    const { scheme, table } = this.of;
    const packet = together([this.withoutConsumer(ids, by), closingOfEnded({ scheme, table, ids })]);
    await this.database.own.query(packet.statement, packet.values);
  }

  /** The server assigns from left to right, so `awaiting` is the last. The statement is idempotent. */
  private withoutConsumer(ids: string[], { consumer, outcome }: Pick<Receipt, 'consumer' | 'outcome'>): SqlStatement {
    const { table, awaited } = this.of;
    const rest = `REPLACE(${awaited}, ?, ',')`;
    const gone = `,${consumer},`;
    const note = outcome === 'PARKED' ? `parked at ${consumer}` : null;
    return {
      statement: `UPDATE ${table.name} m SET
         m.state = IF(${rest} = ',', 'DONE', m.state), m.done_at = IF(${rest} = ',', UTC_TIMESTAMP(3), m.done_at),
         m.next_attempt_at = IF(${rest} = ',', NULL, m.next_attempt_at),
         m.claim_token = IF(${rest} = ',', NULL, m.claim_token),
         m.sent_at = COALESCE(m.sent_at, UTC_TIMESTAMP(3)), m.last_error = COALESCE(?, m.last_error),
         m.awaiting = ${rest}
       WHERE m.id IN (?) AND m.state IN (?)`,
      values: [gone, gone, gone, gone, note, gone, ids, [...table.openStates]],
    };
  }
}

function parse(content: Buffer): Receipt[] | null {
  try {
    return receiptsBody.parse(JSON.parse(content.toString('utf8'))).receipts;
  } catch {
    return null;
  }
}
