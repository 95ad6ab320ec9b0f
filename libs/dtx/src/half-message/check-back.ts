// Step 4 of 6 - check-back: copies whose time has ended come back and are settled by the verdict, or rule it.

import { Inject, Injectable, Logger, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { persist } from '../core/async/retry-while-unavailable.js';
import { Broker } from '../core/broker/broker.service.js';
import type { Delivery, QueueConsumer } from '../core/broker/queue-consumer.js';
import { BrokerBlocked } from '../core/broker/queue-declarer.js';
import { Database } from '../core/database/database.service.js';
import { textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import type { CoreOptions } from '../core/options.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { withGid, withTraceparent } from '../core/trace.js';
import { failpoints } from './failpoints.js';
import type { HalfMessage } from './half-message-table.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';
import { ParkedCopies } from './parked-prepared-messages.js';
import { Copies, type Copy, readCopy } from './prepared-messages.js';
import { type Verdict, Verdicts } from './verdicts.js';

/** Asks back (seed: RocketMQ 4), in any live instance of the producer. The verdict's row is the answer: the user writes none. */
@Injectable()
export class CheckBack implements OnModuleInit, OnModuleDestroy {
  private readonly logger = new Logger('CheckBack');
  private consumer: QueueConsumer | undefined;

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly copies: Copies,
    private readonly verdicts: Verdicts,
    private readonly parked: ParkedCopies,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(HALF_MESSAGE_OPTIONS) private readonly options: HalfMessageOptions,
  ) {}

  onModuleInit(): void {
    const how = { prefetch: this.options.checkPrefetch, kind: 'replicated' } as const;
    this.database.onReady(() => {
      this.consumer = this.broker.consume(this.copies.checkQueue, (delivery) => this.receive(delivery), how);
    });
  }

  async onModuleDestroy(): Promise<void> {
    await this.consumer?.stop(this.core.drainMs);
  }

  private async receive(delivery: Delivery): Promise<void> {
    const { content } = delivery.message;
    // guard: half-message.copy
    const copy = readCopy(content);
    // A database or broker that is away is no check: hold on to what was delivered, take no more, count nothing.
    const patience = { lost: delivery.lost, reconnect: this.core.reconnect };
    if (copy) await persist(patience, () => this.check(copy));
    // Should it have been a copy of a committed message, the sweeper sends that one.
    else this.logger.error(`dropped what is no copy from the check queue: ${content.subarray(0, 200)}`);
    delivery.ack();
  }

  /** Settles one copy: publish, drop, or ask again later. */
  check(copy: Copy): Promise<void> {
    const { gid, traceparent } = copy.message;
    return withTraceparent(traceparent, () => withGid(gid, () => this.settle(copy)));
  }

  private async settle(copy: Copy): Promise<void> {
    const verdict = (await this.verdicts.read(copy.message.id)) ?? (await this.rule(copy.message));
    switch (verdict) {
      case 'COMMITTED':
      case 'PARKED':
        return this.deliver(copy.message);
      case 'UNKNOWN':
        return this.postpone(copy);
      default:
        return; // it was sent, or never was: nothing is left of the copy but this delivery
    }
  }

  /** There is no verdict. To read that is not to know it: the local transaction may be open, or yet to come. */
  private async rule(message: HalfMessage): Promise<Verdict | 'UNKNOWN'> {
    // guard: half-message.rule
    const verdict = await this.verdicts.claim(message);
    if (verdict === 'ROLLED_BACK') await failpoint(failpoints.ruled, async () => {});
    return verdict;
  }

  private async deliver(message: HalfMessage): Promise<void> {
    try {
      const madeAtMs = await this.verdicts.madeAtMs(message.id);
      await failpoint(failpoints.checked, () => this.copies.deliver(message, madeAtMs));
    } catch (error) {
      // Blocked for an alarm, which only consuming may end: its row is work for the sweeper.
      if (isUnavailable(error) && !(error instanceof BrokerBlocked)) throw error;
      // Its row is work for the sweeper, which counts its tries and gives up in the open.
      return this.logger.warn(`half message ${message.id} is left to the sweeper: ${textOf(error)}`);
    }
    // Not awaited: should the mark be lost, the message is sent once more, and its consumers' inboxes know it.
    void this.verdicts
      .markSent(message)
      .catch((error) => this.logger.warn(`cannot mark ${message.id} SENT: ${textOf(error)}`));
  }

  /** The local transaction is open. This, and only this, uses up a check. After the last one a person must look. */
  private async postpone({ checks, message }: Copy): Promise<void> {
    const used = checks + 1;
    if (used < this.copies.checksMax)
      await failpoint(failpoints.postponed, () => this.copies.wait({ checks: used, message }));
    else await failpoint(failpoints.exhausted, () => this.parked.park(message, used));
  }
}
