// Step 5 of 6 - receipts: what the receivers settled is marked DONE at the sender, many receipts in one statement.
import { Inject, Injectable, Logger, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { z } from 'zod';
import { Alerts } from '../core/alert/alerts.js';
import { Broker } from '../core/broker/broker.service.js';
import type { Delivery, QueueConsumer } from '../core/broker/consumer.js';
import { receiptQueueOf } from '../core/broker/contract.js';
import { Database } from '../core/database/database.service.js';
import type { Sql } from '../core/database/sql.js';
import { isUnavailable } from '../core/database/sql-errors.js';
import { Batcher } from '../core/durable/batcher.js';
import { failpoint } from '../core/failpoint.js';
import type { Receipt } from '../core/inbox/receipts.js';
import type { CoreOptions } from '../core/options.js';
import { measure } from '../core/telemetry.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { failpoints, SCHEME } from './failpoints.js';
import { LOCAL_MESSAGE_OPTIONS, type LocalMessageOptions } from './options.js';
import { Relay } from './relay.js';

/** ASCII, as the columns that they are compared with: the server refuses to compare anything else. */
const ascii = (lengthMax: number) => z.string().regex(new RegExp(`^[!-~]{1,${lengthMax}}$`));
const receiptsBody = z.object({
  receipts: z.array(z.object({ messageId: ascii(64), consumer: ascii(65), outcome: z.enum(['HANDLED', 'PARKED']) })),
});
const GATHER_MS = 5;

/** Consumes this app's receipt queue; any instance may take any receipt. */
@Injectable()
export class Receipts implements OnModuleInit, OnModuleDestroy {
  private readonly logger = new Logger('Receipts');
  private readonly marks: Batcher<Receipt[]>;
  private consumer: QueueConsumer | undefined;

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly relay: Relay,
    private readonly alerts: Alerts,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(LOCAL_MESSAGE_OPTIONS) options: LocalMessageOptions,
  ) {
    this.marks = new Batcher({ delayMs: GATHER_MS, batchMax: options.markBatchMax }, (groups) =>
      failpoint(failpoints.done, () => this.markDone(groups.flat())),
    );
  }

  onModuleInit(): void {
    const queue = receiptQueueOf(this.core.app);
    this.database.onReady(() => {
      this.consumer = this.broker.consume(queue, (delivery) => this.receive(delivery), { prefetch: 200 });
    });
  }

  async onModuleDestroy(): Promise<void> {
    await this.consumer?.stop(this.core.drainMs);
  }

  private async receive(delivery: Delivery): Promise<void> {
    const receipts = parse(delivery.message.content);
    if (!receipts)
      this.logger.warn(`dropped a receipt that cannot be read: ${delivery.message.content.subarray(0, 200)}`);
    else await this.marked(receipts, delivery.lost);
    // A receipt that dies with us before this ack is delivered again and changes nothing.
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

  private async markDone(receipts: Receipt[]): Promise<void> {
    this.relay.skipMarks(new Map(receipts.map(({ messageId, consumer }) => [messageId, consumer])));
    await this.database.own.transaction(async (sql) => {
      for (const consumer of new Set(receipts.map((receipt) => receipt.consumer))) {
        for (const outcome of ['HANDLED', 'PARKED'] as const) {
          const ids = receipts.filter((r) => r.consumer === consumer && r.outcome === outcome).map((r) => r.messageId);
          if (ids.length > 0) await takeOff(sql, ids.sort(), { consumer, outcome });
        }
      }
      // A row that had been given up here and is receipted after all is no incident any more. One receipt is not all.
      await this.alerts.close(sql, SCHEME, await doneOf(sql, receipts));
    });
    for (const { messageId } of receipts) measure('settled', { scheme: SCHEME, ms: this.database.ageMs(messageId) });
  }
}

/**
 * Takes a consumer off `awaiting`; the last one makes the row DONE. A PARKED receipt counts as well: the delivery now
 * waits for a person at its receiver, one alert, one place. `awaiting` is assigned last, so that the other expressions
 * read its old value whichever order the server assigns in.
 */
async function takeOff(sql: Sql, ids: string[], by: { consumer: string; outcome: Receipt['outcome'] }): Promise<void> {
  const rest = `REPLACE(awaiting, ?, ',')`;
  const gone = `,${by.consumer},`;
  const note = by.outcome === 'PARKED' ? `parked at ${by.consumer}` : null;
  await sql.query(
    `UPDATE dtx_outbox SET
       state = IF(${rest} = ',', 'DONE', state), done_at = IF(${rest} = ',', UTC_TIMESTAMP(3), done_at),
       next_attempt_at = IF(${rest} = ',', NULL, next_attempt_at), claim_token = IF(${rest} = ',', NULL, claim_token),
       sent_at = COALESCE(sent_at, UTC_TIMESTAMP(3)), last_error = COALESCE(?, last_error), awaiting = ${rest}
     WHERE id IN (?) AND state <> 'DONE'`,
    [gone, gone, gone, gone, note, gone, ids],
  );
}

/** The messages for which no receipt is missing any more. */
async function doneOf(sql: Sql, receipts: readonly Receipt[]): Promise<string[]> {
  const ids = [...new Set(receipts.map(({ messageId }) => messageId))].sort();
  const rows: Array<{ id: string }> = await sql.query(`SELECT id FROM dtx_outbox WHERE id IN (?) AND state = 'DONE'`, [
    ids,
  ]);
  return rows.map(({ id }) => id);
}

function parse(content: Buffer): Receipt[] | null {
  try {
    return receiptsBody.parse(JSON.parse(content.toString('utf8'))).receipts;
  } catch {
    return null;
  }
}
