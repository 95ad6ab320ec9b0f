// Step 1 of 2 - publish: inside the local transaction, with a publisher confirm before its COMMIT. In step 2 the consumer
// acks after its work. If the process dies between confirm and COMMIT, consumers get a message about a rolled-back change.
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { backoffMs } from '../core/async/backoff.js';
import { Broker } from '../core/broker/broker.service.js';
import { mustBeContract } from '../core/broker/contract-argument.js';
import { type Envelope, typeOf } from '../core/broker/envelope.js';
import { type Contract, queueOf } from '../core/broker/message-contract.js';
import { refuseOrder } from '../core/broker/ordered-messages.js';
import { checkedJson, payloadOf, type Sendable } from '../core/broker/outgoing-payload.js';
import type { ExchangeRoute } from '../core/broker/publish-target.js';
import { Database } from '../core/database/database.service.js';
import { joinTransaction } from '../core/database/join-or-run-transaction.js';
import { poolSizeOf } from '../core/database/library-pools.js';
import { QueueWatch } from '../core/durable/unattended-queues.js';
import { DtxError } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { assertGid, newId } from '../core/ids.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { measure } from '../core/telemetry-events.js';
import { currentTraceparent } from '../core/trace-and-gid-context.js';
import { createStep, Traced } from '../core/traced-steps.js';
import { failpoints, SCHEME } from './failpoints.js';
import { CONFIRMED_PUBLISH_OPTIONS, type ConfirmedPublishOptions } from './options.js';
import { PublishGate } from './publish-gate.js';

/** The checked payload of a message, and its gid. @throws DtxError as `ConfirmedMessages.publish` */
export function messageToPublish<P>(
  contract: Contract<P>,
  payload: P,
  bytesMax: number,
): Sendable<P> & { gid: string } {
  mustBeContract(contract, 'publish(tx, contract, payload)');
  refuseOrder(contract, 'publish');
  if (!contract.replicated && !contract.publishTo) {
    const about = `${contract.name} v${contract.version}`;
    throw new DtxError(
      `cannot publish ${about}: contract is not replicated, and only the broker stores the message; set \`replicated: true\``,
    );
  }
  const checked = checkedJson(payloadOf(contract), contract.schema, payload, bytesMax);
  return { ...checked, gid: assertGid(contract.gid(checked.value)) };
}

/**
 * Publishes messages with a publisher confirm before the local commit. The confirm of a quorum queue corresponds to
 * Kafka's `acks=all`. The sender stores nothing, so the scheme is the cheapest. It has the weakest guarantee:
 * - If the COMMIT fails after the confirm, the message describes a change that does not exist.
 * - If the confirm is lost and the transaction is rolled back, the message may have arrived as well.
 * - Rows stay locked until the broker confirms.
 * Use it for absolute, versioned values, which the next message corrects. Use a half message or the local message table
 * where no message may describe a rolled-back change.
 */
@Injectable()
export class ConfirmedMessages {
  private gate: PublishGate | undefined;

  /** @internal */
  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly queueWatch: QueueWatch,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(CONFIRMED_PUBLISH_OPTIONS) private readonly options: ConfirmedPublishOptions,
  ) {}

  /**
   * Publishes now and resolves when the queue of every consumer, or the exchange of `publishTo`, has the message. Call it last in the transaction. Returns
   * the message id. Let each of these errors roll the transaction back:
   * @throws BrokerUnavailable or Unconfirmed if the message is not confirmed by the last attempt or within `timeoutMs`, or
   *   if `concurrencyMax` messages already wait for the broker
   * @throws QueueRefused if the broker rejects the queue of a consumer, or the exchange of `publishTo` is missing. Not
   *   retryable.
   * @throws Unroutable if the exchange of `publishTo` leads to no queue
   * @throws TransactionRequired outside a transaction
   * @throws DtxError if the contract has neither `replicated` nor `publishTo`, or the payload violates it, changes in a JSON round trip, or
   *   exceeds `payloadMaxBytes`
   * @example
   *   await this.db.transaction(async (tx) => {
   *     const stock = await restock(tx, sku, quantity);
   *     await this.messages.publish(tx, stockRestocked, { sku, available: stock.available, version: stock.version });
   *   });
   */
  @Traced((_tx: EntityManager, contract: Contract) => ({ ...createStep(SCHEME, contract), returnsMessageId: true }))
  async publish<P>(tx: EntityManager, contract: Contract<P>, payload: P): Promise<string> {
    const { json, gid } = messageToPublish(contract, payload, this.options.payloadMaxBytes);
    const madeAtMs = this.database.nowMs();
    const envelope = {
      messageId: newId(madeAtMs),
      madeAtMs,
      type: typeOf(contract),
      gid,
      scheme: SCHEME,
      traceparent: currentTraceparent() ?? undefined,
    };
    const guard = await joinTransaction(tx, this.database.source, 'ConfirmedMessages.publish');
    // A statement that waits may fail, and the message cannot be taken back.
    await guard.sendUsers();
    const about = { scheme: SCHEME, id: envelope.messageId, gid };
    measure('started', about);
    const queues = contract.consumers.map((consumer) => queueOf(consumer, contract.version));
    const targets = contract.publishTo ? [contract.publishTo] : queues;
    for (const name of queues) await this.queueWatch.use({ name, kind: 'replicated', scheme: SCHEME });
    const body = Buffer.from(json);
    await failpoint(failpoints.published, () => this.untilConfirmed(targets, body, envelope));
    // The scheme's part of the work ends with the COMMIT.
    const settled = async () => measure('settled', { ...about, ms: this.database.ageMs(envelope.messageId) });
    guard.depend({ afterCommit: settled });
    return envelope.messageId;
  }

  /** Publishes until confirmed. Every attempt carries the same message id, so consumers recognise duplicates. */
  private async untilConfirmed(
    targets: ReadonlyArray<string | ExchangeRoute>,
    body: Buffer,
    envelope: Envelope,
  ): Promise<void> {
    const { triesMax, backoff, timeoutMs } = this.options;
    const endsAt = performance.now() + Math.min(timeoutMs, this.core.lockWaitSeconds * LOCK_WAIT_SHARE_MS);
    this.gate ??= new PublishGate(this.options.concurrencyMax ?? shareOf(poolSizeOf(this.database.source)));
    const leave = await this.gate.enter(endsAt);
    try {
      for (let tries = 1; ; tries++) {
        try {
          const how = { kind: 'replicated', withinMs: endsAt - performance.now() } as const;
          await Promise.all(targets.map((to) => this.broker.publisher.publish(to, body, envelope, how)));
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

/** The share of each second of `lockWaitSeconds` that publishing may take, in milliseconds. */
const LOCK_WAIT_SHARE_MS = 800;

/** The default of `concurrencyMax`. The rest of the pool stays free for work without a broker. */
function shareOf(poolSize: number): number {
  return Math.max(1, Math.floor(poolSize / 4));
}
