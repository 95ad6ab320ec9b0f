// Step 1 of 2 - publish: inside the local transaction, with confirm before its COMMIT; (2) the consumer acks after its work.
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { backoffMs } from '../core/async/backoff.js';
import { Broker } from '../core/broker/broker.service.js';
import { type Contract, queueOf } from '../core/broker/contract.js';
import { type Envelope, typeOf } from '../core/broker/envelope.js';
import { checkedJson, payloadOf } from '../core/broker/payload.js';
import { Database } from '../core/database/database.service.js';
import { poolSizeOf } from '../core/database/pools.js';
import { joinTransaction } from '../core/database/transaction.js';
import { QueueWatch } from '../core/durable/queue-watch.js';
import { DtxError } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { assertGid, newId } from '../core/ids.js';
import type { CoreOptions } from '../core/options.js';
import { measure } from '../core/telemetry.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { currentTraceparent } from '../core/trace.js';
import { failpoints, SCHEME } from './failpoints.js';
import { CONFIRMED_PUBLISH_OPTIONS, type ConfirmedPublishOptions } from './options.js';
import { PublishGate } from './publish-gate.js';

/**
 * The reliable message of brokers without half messages (seed: 其他MQ的实现方案; Kafka's `acks=all` is a quorum queue's
 * confirm). Nothing is stored at the sender, so it is the cheapest of all schemes and the weakest:
 * - the COMMIT may fail after the confirm: then the message tells of what never was;
 * - a publish whose confirm was lost may have arrived, though the transaction is rolled back: the same;
 * - rows stay locked while the broker takes its time.
 * For messages that bear it, such as absolute, versioned values. Where none may be sent in vain, use a half message or
 * the local message table.
 */
@Injectable()
export class ConfirmedMessages {
  private gate: PublishGate | undefined;

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly queueWatch: QueueWatch,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(CONFIRMED_PUBLISH_OPTIONS) private readonly options: ConfirmedPublishOptions,
  ) {}

  /**
   * Publishes now, and resolves when every consumer's queue has the message. Call it last: what it tells should be all
   * but committed. Returns the message id.
   * @throws BrokerUnavailable when it is not confirmed after the last try, or within `timeoutMs`, or when too many wait for
   *   the broker already: let it roll the transaction back
   * @throws QueueRefused when the broker refuses a consumer's queue: the same, and waiting does not help
   * @throws TransactionRequired outside a transaction; DtxError when the contract is not `replicated`, or the payload
   *   does not fit it, does not come back from JSON as it is, or is too large
   * @example
   *   await this.db.transaction(async (tx) => {
   *     const stock = await restock(tx, sku, quantity);
   *     await this.messages.publish(tx, stockRestocked, { sku, available: stock.available, version: stock.version });
   *   });
   */
  async publish<P>(tx: EntityManager, contract: Contract<P>, payload: P): Promise<string> {
    if (!contract.replicated) {
      const about = `${contract.name} v${contract.version}`;
      throw new DtxError(`${about} cannot be published so: once sent, only the broker has it; make it replicated`);
    }
    const { json, value } = checkedJson(payloadOf(contract), contract.schema, payload, this.options.payloadMaxBytes);
    const madeAtMs = this.database.nowMs();
    const envelope = {
      messageId: newId(madeAtMs),
      madeAtMs,
      type: typeOf(contract),
      gid: assertGid(contract.gid(value)),
      scheme: SCHEME,
      traceparent: currentTraceparent() ?? undefined,
    };
    const scope = await joinTransaction(tx, this.database.source, 'ConfirmedMessages.publish');
    measure('started', { scheme: SCHEME });
    const queues = contract.consumers.map((consumer) => queueOf(consumer, contract.version));
    for (const name of queues) await this.queueWatch.use({ name, kind: 'replicated', scheme: SCHEME });
    const body = Buffer.from(json);
    await failpoint(failpoints.published, () => this.untilConfirmed(queues, body, envelope));
    // All that this scheme does for a message ends with the COMMIT: from then on it is the broker's and its consumers'.
    const settled = async () => measure('settled', { scheme: SCHEME, ms: this.database.ageMs(envelope.messageId) });
    scope.depend({ afterCommit: settled });
    return envelope.messageId;
  }

  /** The same id at every try: whoever got an earlier one knows it. One limit for all of them, and only few at once. */
  private async untilConfirmed(queues: readonly string[], body: Buffer, envelope: Envelope): Promise<void> {
    const { triesMax, backoff, timeoutMs } = this.options;
    const endsAt = performance.now() + Math.min(timeoutMs, this.core.lockWaitSeconds * LOCK_WAIT_SHARE_MS);
    this.gate ??= new PublishGate(this.options.concurrencyMax ?? shareOf(poolSizeOf(this.database.source)));
    const leave = await this.gate.enter(endsAt);
    try {
      for (let tries = 1; ; tries++) {
        try {
          const how = { kind: 'replicated', withinMs: endsAt - performance.now() } as const;
          await Promise.all(queues.map((queue) => this.broker.publisher.publish(queue, body, envelope, how)));
          return;
        } catch (error) {
          const waitMs = backoffMs(backoff, tries);
          const isOver = tries >= triesMax || performance.now() + waitMs >= endsAt;
          if (isOver || !isUnavailable(error)) throw error;
          await sleep(waitMs);
        }
      }
    } finally {
      leave();
    }
  }
}

/** Four fifths of a second, for each second of the lock wait. */
const LOCK_WAIT_SHARE_MS = 800;

/** The rest of the pool is left to those who need no broker. */
function shareOf(poolSize: number): number {
  return Math.max(1, Math.floor(poolSize / 4));
}
