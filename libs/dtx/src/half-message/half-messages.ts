// Steps 1 to 3 of 6 - prepare: the copy waits in the broker, then the local transaction, then the message itself.
import { randomUUID } from 'node:crypto';
import { Inject, Injectable, Logger, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import type { Contract } from '../core/broker/contract.js';
import { Database } from '../core/database/database.service.js';
import { insertFirst, NOW, SqlExpression } from '../core/database/insert-first.js';
import { isUnavailable } from '../core/database/sql-errors.js';
import { inTransaction } from '../core/database/transaction.js';
import { Batcher } from '../core/durable/batcher.js';
import { inFuture } from '../core/durable/claim.js';
import { DtxError, OutcomeUnknown } from '../core/errors.js';
import { failpoint } from '../core/failpoint.js';
import { assertGid } from '../core/gid.js';
import { currentTraceparent } from '../core/trace.js';
import { Copies } from './copies.js';
import { failpoints } from './failpoints.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions, horizonMs } from './options.js';
import { type HalfMessage, halfMessageMigrations } from './schema.js';

/** The check was first: it has ruled that this message never was, so the local transaction must not commit. */
export class RuledBack extends OutcomeUnknown {
  constructor(id: string) {
    super(`half message ${id} took longer than its check waited and was ruled back: nothing has happened, try again`);
  }
}

/** RocketMQ's transactional message on plain RabbitMQ: prepare, local transaction, confirm; the broker asks back. */
@Injectable()
export class HalfMessages implements OnModuleInit, OnModuleDestroy {
  private readonly logger = new Logger('HalfMessages');
  private readonly token = randomUUID();
  private readonly marks: Batcher<string>;
  private readonly inWork = new Set<Promise<void>>();

  constructor(
    private readonly database: Database,
    private readonly copies: Copies,
    @Inject(HALF_MESSAGE_OPTIONS) private readonly options: HalfMessageOptions,
  ) {
    this.marks = new Batcher({ delayMs: options.markDelayMs, batchMax: options.markBatchMax }, (ids) =>
      failpoint(failpoints.marked, () => this.markSent(ids)),
    );
  }

  onModuleInit(): void {
    this.database.addMigrations('dtx-half-message', halfMessageMigrations);
  }

  async onModuleDestroy(): Promise<void> {
    await Promise.allSettled(this.inWork);
    await this.marks.drain();
  }

  /**
   * Does local work and sends a message, both or neither (seed: RocketMQ 的实现方案 1-3). Answers what `work` answered.
   * @throws BrokerUnavailable when the copy could not be prepared: nothing has happened (step 1)
   * @throws what `work` throws: it was rolled back, and so is the message
   * @throws OutcomeUnknown when the COMMIT's answer was lost: the check finds out
   * @example
   *   await this.halfMessages.send(flashSold, payload, async (tx) => { await this.stock.take(tx, sku, quantity); });
   */
  async send<P, T>(contract: Contract<P>, payload: P, work: (tx: EntityManager) => Promise<T>): Promise<T> {
    const message = this.messageOf(contract, payload);
    await failpoint(failpoints.prepared, () => this.copies.wait({ checks: 0, message }));
    const result = await this.commit(message, work);
    this.sendNow(message);
    return result;
  }

  /** Step 2: the verdict's row comes first, so that a check meanwhile waits for it instead of ruling. */
  private async commit<T>(message: HalfMessage, work: (tx: EntityManager) => Promise<T>): Promise<T> {
    const due = new SqlExpression(inFuture(horizonMs(this.options) + this.options.sweepAfterMs));
    const row = {
      ...message,
      verdict: 'COMMITTED',
      state: 'PENDING',
      next_attempt_at: due,
      claim_token: this.token,
      created_at: NOW,
    };
    try {
      return await failpoint(failpoints.committed, () =>
        inTransaction(this.database.source, async (tx) => {
          if (!(await insertFirst(tx, 'dtx_half', row))) throw new RuledBack(message.id);
          return work(tx);
        }),
      );
    } catch (error) {
      // Whether it committed is not known when the connection was lost: only the check may rule then.
      if (!isUnavailable(error)) void this.rollBack(message);
      throw error;
    }
  }

  /** Step 3, on failure: saves the check its work; should it not succeed, the check rules. */
  private async rollBack(message: HalfMessage): Promise<void> {
    await ruleBack(this.database, message).catch(() => {});
  }

  /** Step 3: in the background; the caller's answer needs only the commit. */
  private sendNow(message: HalfMessage): void {
    const sending: Promise<void> = failpoint(failpoints.confirmed, () => this.copies.deliver(message))
      .then(() => this.marked(message.id))
      .catch((error) => this.logger.warn(`half message ${message.id}: left to its check: ${(error as Error).message}`))
      .finally(() => this.inWork.delete(sending));
    this.inWork.add(sending);
  }

  /** Gathers the mark; a lost one means that the message is sent once more. */
  async marked(id: string): Promise<void> {
    await this.marks.add(id);
  }

  private async markSent(ids: string[]): Promise<void> {
    await this.database.own.query(
      `UPDATE dtx_half SET state = 'SENT', next_attempt_at = NULL, claim_token = NULL, sent_at = COALESCE(sent_at, UTC_TIMESTAMP(3))
       WHERE id IN (?) AND verdict = 'COMMITTED'`,
      [[...ids].sort()],
    );
  }

  private messageOf<P>(contract: Contract<P>, payload: P): HalfMessage {
    if (!contract.replicated)
      throw new DtxError(`${contract.name}: a half message's contract must be replicated: true`);
    const checked = contract.schema.safeParse(payload);
    if (!checked.success) {
      const problems = checked.error.issues.map((issue) => `${issue.path.join('.') || 'payload'}: ${issue.message}`);
      throw new DtxError(`payload does not fit ${contract.name} v${contract.version}: ${problems.join('; ')}`);
    }
    const json = JSON.stringify(checked.data);
    if (Buffer.byteLength(json) > this.options.payloadMaxBytes)
      throw new DtxError(`payload of ${contract.name} is too large`);
    return {
      id: this.database.newId(),
      gid: assertGid(contract.gid(checked.data)),
      contract: contract.name,
      version: contract.version,
      payload: json,
      consumers: contract.consumers.join(','),
      traceparent: currentTraceparent(),
    };
  }
}

/**
 * Writes ROLLED_BACK unless there is a verdict already. A claim, not a read: afterwards no local transaction of this
 * message can commit any more. False: somebody was first. @throws a lock wait (1205) while its transaction is open
 */
export function ruleBack(database: Database, message: HalfMessage): Promise<boolean> {
  const row = { ...message, verdict: 'ROLLED_BACK', state: 'ROLLED_BACK', created_at: NOW };
  return database.own.transaction((tx) => insertFirst(tx, 'dtx_half', row));
}
