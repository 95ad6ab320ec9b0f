// Steps 1 to 3 of 6 - prepare: the copy waits in the broker; then the local transaction; then the message itself.
import { Inject, Injectable, Logger, OnModuleDestroy } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import type { Contract } from '../core/broker/contract.js';
import { checkedJson, payloadOf } from '../core/broker/payload.js';
import { Database } from '../core/database/database.service.js';
import { DtxError, OutcomeUnknown, textOf, Unavailable } from '../core/errors/errors.js';
import { isDatabaseAway } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { assertGid } from '../core/ids.js';
import { measure } from '../core/telemetry.js';
import { currentTraceparent } from '../core/trace.js';
import { failpoints, SCHEME } from './failpoints.js';
import type { HalfMessage } from './half-message-table.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';
import { Copies } from './prepared-messages.js';
import { Verdicts } from './verdicts.js';

/** The check was first: it has ruled that this message never was, so the local transaction was rolled back. Try again. */
export class RuledBack extends Unavailable {
  constructor(id: string) {
    super(`half message ${id} came to its local transaction after its check had ruled it back: nothing has happened`);
  }
}

/** RocketMQ's transactional message on plain RabbitMQ: prepare, local transaction, confirm; and the broker asks back. */
@Injectable()
export class HalfMessages implements OnModuleDestroy {
  private readonly logger = new Logger('HalfMessages');
  private readonly inWork = new Set<Promise<void>>();

  constructor(
    private readonly database: Database,
    private readonly copies: Copies,
    private readonly verdicts: Verdicts,
    @Inject(HALF_MESSAGE_OPTIONS) private readonly options: HalfMessageOptions,
  ) {}

  /** Before the marks are written down: see `Verdicts`. */
  async onModuleDestroy(): Promise<void> {
    while (this.inWork.size > 0) await Promise.allSettled(this.inWork);
  }

  /**
   * Does local work and sends a message, both or neither (seed: RocketMQ 的实现方案 1 and 2). Answers what `work` answered.
   * `work` is given the local transaction, and may be run again should the server break a deadlock by it.
   * @throws BrokerUnavailable or Unconfirmed when the copy could not be prepared: nothing has happened
   * @throws what `work` throws: all was rolled back, and there is no message
   * @throws RuledBack when the copy's first check came before the local transaction: nothing has happened
   * @throws OutcomeUnknown, or the driver's error, when the COMMIT's answer was lost: the check finds out
   * @throws DtxError when the contract is not `replicated`, or the payload does not fit it, does not come back from JSON
   *   as it is, or is too large: nothing has happened
   * @example
   *   await this.halfMessages.send(flashSold, payload, async (tx) => { await this.stock.take(tx, sku, quantity); });
   */
  async send<P, T>(contract: Contract<P>, payload: P, work: (tx: EntityManager) => Promise<T>): Promise<T> {
    const message = this.messageOf(contract, payload);
    await failpoint(failpoints.prepared, () => this.copies.wait({ checks: 0, message }));
    measure('started', { scheme: SCHEME });
    const result = await this.commit(message, work);
    this.sendNow(message);
    return result;
  }

  /**
   * What was committed under a gid, or null, to answer a repeated call. Kept as long as the verdict is. A gid names no
   * single message: of several, this is the first.
   */
  async committed<P>(contract: Contract<P>, gid: string): Promise<P | null> {
    const payload = await this.verdicts.payloadOf(gid, contract);
    return payload === null ? null : contract.schema.parse(JSON.parse(payload));
  }

  /** Step 2. The verdict comes first, so that a check meanwhile meets its lock instead of ruling. */
  private async commit<T>(message: HalfMessage, work: (tx: EntityManager) => Promise<T>): Promise<T> {
    try {
      // guard: half-message.commit
      return await failpoint(failpoints.committed, () =>
        this.database.work.run({
          what: `the work of half message ${message.contract} v${message.version}`,
          // guard: half-message.verdict
          first: { ...this.verdicts.committed(message), ifThere: () => new RuledBack(message.id) },
          run: async (tx, scope) => {
            scope.depend({ afterEarlyCommit: () => this.verdicts.withdraw(message.id) });
            await failpoint(failpoints.opened, async () => {});
            // guard: half-message.work
            return work(tx);
          },
        }),
      );
    } catch (error) {
      // Where the COMMIT's answer may be what was lost, only the check may rule. Else this saves it the work.
      // A message that was ruled back has its verdict already.
      const isUnknown = error instanceof OutcomeUnknown || error instanceof RuledBack || isDatabaseAway(error);
      if (!isUnknown) this.inBackground(this.verdicts.markRolledBack(message), message);
      throw error;
    }
  }

  /** Step 3. In the background: the caller's answer needs only the commit. */
  private sendNow(message: HalfMessage): void {
    if (this.inWork.size >= this.options.sendingMax) return;
    const sent = failpoint(failpoints.confirmed, () => this.copies.deliver(message, this.database.nowMs()));
    this.inBackground(
      sent.then(() => this.verdicts.markSent(message)),
      message,
    );
  }

  private inBackground(work: Promise<void>, { id }: HalfMessage): void {
    const running: Promise<void> = work
      .catch((error) => this.logger.warn(`half message ${id} is left to its check: ${textOf(error)}`))
      .finally(() => this.inWork.delete(running));
    this.inWork.add(running);
  }

  private messageOf<P>(contract: Contract<P>, payload: P): HalfMessage {
    if (!contract.replicated) {
      const about = `${contract.name} v${contract.version}`;
      throw new DtxError(`${about} cannot be a half message: once sent, only the broker has it; make it replicated`);
    }
    const { json, value } = checkedJson(payloadOf(contract), contract.schema, payload, this.options.payloadMaxBytes);
    return {
      id: this.database.newId(),
      gid: assertGid(contract.gid(value)),
      contract: contract.name,
      version: contract.version,
      payload: json,
      consumers: contract.consumers.join(','),
      traceparent: currentTraceparent(),
    };
  }
}
