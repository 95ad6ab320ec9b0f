// Steps 1 to 3 of 6 - prepare: stores the prepared message in the broker, runs the local transaction, sends the message.
// If the process dies in between, the check settles the prepared message by the verdict.
import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { mustBeContract } from '../core/broker/contract-argument.js';
import type { Contract } from '../core/broker/message-contract.js';
import { refuseOrder } from '../core/broker/ordered-messages.js';
import { checkedJson, payloadOf, type Sendable } from '../core/broker/outgoing-payload.js';
import { acceptedBy } from '../core/broker/schema.js';
import { Database } from '../core/database/database.service.js';
import { firstUnlessThere } from '../core/database/insert-first.js';
import { SharingByName } from '../core/database/shared-transactions.js';
import { DtxError, OutcomeUnknown, textOf, Unavailable } from '../core/errors/errors.js';
import { isDatabaseAway } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { assertGid } from '../core/ids.js';
import { libraryLogger } from '../core/library-logger.js';
import { measure } from '../core/telemetry-events.js';
import { currentTraceparent } from '../core/trace-and-gid-context.js';
import { createStep, Traced } from '../core/traced-steps.js';
import { ConsumerQueues } from './consumer-queue-check.js';
import { failpoints, SCHEME } from './failpoints.js';
import { PreparedMessages, queuesOf } from './half-message-publisher.js';
import type { HalfMessage } from './half-message-tables.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';
import { Verdicts } from './verdicts.js';

/**
 * The check ruled ROLLED_BACK before the local transaction began, so that transaction was rolled back. Retry the call.
 * @example
 *   if (error instanceof RuledBack) return this.halfMessages.send(flashSold, payload, work);
 */
export class RuledBack extends Unavailable {
  /** @internal */
  constructor(id: string) {
    super(
      `local transaction of half message ${id} rolled back: its check had ruled ROLLED_BACK before; nothing happened, retry`,
    );
  }
}

/** The checked payload of a half message, and its gid. @throws DtxError as `HalfMessages.send` */
export function messageToPrepare<P>(
  contract: Contract<P>,
  payload: P,
  bytesMax: number,
): Sendable<P> & { gid: string } {
  refuseOrder(contract, 'send as a half message');
  const about = `${contract.name} v${contract.version}`;
  if (contract.receipts === false)
    throw new DtxError(
      `cannot send ${about} as a half message: contract has receipts: false; use LocalMessages.append`,
    );
  if (!contract.replicated) {
    throw new DtxError(`cannot send ${about} as a half message: contract is not replicated; set \`replicated: true\``);
  }
  const checked = checkedJson(payloadOf(contract), contract.schema, payload, bytesMax);
  return { ...checked, gid: assertGid(contract.gid(checked.value)) };
}

/** RocketMQ's transactional message on plain RabbitMQ: prepare, local transaction, publish, and check-back. */
@Injectable()
export class HalfMessages implements OnModuleDestroy {
  private readonly logger = libraryLogger('half messages');
  private readonly inWork = new Set<Promise<void>>();
  private readonly sharing: SharingByName;

  constructor(
    private readonly database: Database,
    private readonly preparedMessages: PreparedMessages,
    private readonly consumerQueues: ConsumerQueues,
    private readonly verdicts: Verdicts,
    @Inject(HALF_MESSAGE_OPTIONS) private readonly options: HalfMessageOptions,
  ) {
    this.sharing = new SharingByName(options.sendsPerTransaction);
  }

  /** Waits for the sends in the background. `Verdicts` writes their marks afterwards. */
  async onModuleDestroy(): Promise<void> {
    while (this.inWork.size > 0) await Promise.allSettled(this.inWork);
  }

  /**
   * Runs `work` in a local transaction and sends the message if and only if it commits. Returns the result of `work`.
   * `work` may run again after a deadlock, and with `sendsPerTransaction` after a failure of another send.
   * @throws BrokerUnavailable or Unconfirmed if the message could not be prepared. Nothing happened.
   * @throws QueueRefused if a consumer's queue exists as another kind. Nothing happened.
   * @throws RuledBack if the first check came before the local transaction. Nothing happened.
   * @throws OutcomeUnknown, or the driver's error, if the reply to COMMIT was lost. The check settles the message.
   * @throws DtxError if the contract is not `replicated`, or the payload violates it, changes in a JSON round trip, or
   *   exceeds `payloadMaxBytes`. Nothing happened.
   * @throws any error of `work`. Its transaction is rolled back, and no message is sent.
   * @example
   *   await this.halfMessages.send(flashSold, payload, async (tx) => { await this.stock.take(tx, sku, quantity); });
   */
  @Traced((contract: Contract) => createStep(SCHEME, contract))
  async send<P, T>(contract: Contract<P>, payload: P, work: (tx: EntityManager) => Promise<T>): Promise<T> {
    mustBeContract(contract, 'send(contract, payload, work)');
    if (typeof work !== 'function') throw new DtxError('send(contract, payload, work) needs the work as a function');
    const message = this.messageOf(contract, payload);
    await Promise.all([
      this.consumerQueues.require(queuesOf(message)),
      failpoint(failpoints.prepared, () => this.preparedMessages.wait({ checks: 0, message })),
    ]);
    measure('started', { scheme: SCHEME, id: message.id, gid: message.gid });
    const result = await this.commit(message, work);
    this.sendNow(message);
    return result;
  }

  /**
   * The payload committed under a gid, or null. Use it to answer a repeated call. It is kept as long as the verdict. A gid
   * may have several messages, and the first one counts.
   */
  async committed<P>(contract: Contract<P>, gid: string): Promise<P | null> {
    const payload = await this.verdicts.payloadOf(gid, contract);
    return payload === null ? null : acceptedBy(contract.schema, JSON.parse(payload), payloadOf(contract).misfit);
  }

  /** Step 2. The verdict is the first statement, so that a concurrent check waits for its lock instead of ruling. */
  private async commit<T>(message: HalfMessage, work: (tx: EntityManager) => Promise<T>): Promise<T> {
    const contract = `${message.contract} v${message.version}`;
    try {
      // guard: half-message.commit
      return await failpoint(failpoints.committed, () =>
        this.database.work.run({
          what: `the work of half message ${contract}`,
          sharing: this.sharing.of(contract),
          // The row of the verdict would be taken for a ruling of the check.
          throwsUnknown: true,
          // guard: half-message.verdict
          first: firstUnlessThere(this.verdicts.committed(message), () => new RuledBack(message.id)),
          run: async (tx, guard) => {
            guard.depend({ afterEarlyCommit: () => this.verdicts.withdraw(message.id) });
            await failpoint(failpoints.opened, async () => {});
            // guard: half-message.work
            return work(tx);
          },
        }),
      );
    } catch (error) {
      // If the outcome of the COMMIT is unknown, only the check may rule. Otherwise the mark saves a check that rules.
      // A message with RuledBack has its verdict already.
      const isUnknown = error instanceof OutcomeUnknown || error instanceof RuledBack || isDatabaseAway(error);
      if (!isUnknown) this.inBackground(this.verdicts.markRolledBack(message), message);
      throw error;
    }
  }

  /** Step 3, in the background. The caller waits only for the commit. */
  private sendNow(message: HalfMessage): void {
    if (this.inWork.size >= this.options.sendingMax) return;
    const sent = failpoint(failpoints.confirmed, () => this.preparedMessages.deliver(message, this.database.nowMs()));
    this.inBackground(
      sent.then(() => this.verdicts.markSent(message)),
      message,
    );
  }

  private inBackground(work: Promise<void>, { id }: HalfMessage): void {
    const running: Promise<void> = work
      .catch((error) =>
        this.logger.warn(`cannot settle half message ${id} now, its check is retrying: ${textOf(error)}`),
      )
      .finally(() => this.inWork.delete(running));
    this.inWork.add(running);
  }

  private messageOf<P>(contract: Contract<P>, payload: P): HalfMessage {
    const { json, gid } = messageToPrepare(contract, payload, this.options.payloadMaxBytes);
    return {
      id: this.database.newId(),
      gid,
      contract: contract.name,
      version: contract.version,
      payload: json,
      consumers: contract.consumers.join(','),
      traceparent: currentTraceparent(),
    };
  }
}
