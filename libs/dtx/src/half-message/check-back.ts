// Step 4 of 6 - check-back: an expired prepared message is settled by its verdict. Without one the check rules ROLLED_BACK.
// If the process dies before the ack, the broker redelivers the prepared message to any instance of the producer.

import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { retryWhileUnavailable } from '../core/async/retry-while-unavailable.js';
import { Broker } from '../core/broker/broker.service.js';
import type { ConsumedQueue, Delivery } from '../core/broker/consumed-queue.js';
import { printable } from '../core/broker/printable.js';
import { BrokerBlocked } from '../core/broker/queue-declarations.js';
import { Database } from '../core/database/database.service.js';
import { BackgroundWork } from '../core/durable/background-work.js';
import { textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { libraryLogger } from '../core/library-logger.js';
import type { CoreOptions } from '../core/options.js';
import { withGid, withTraceparent } from '../core/trace-and-gid-context.js';
import { failpoints } from './failpoints.js';
import { type PreparedMessage, PreparedMessages, parsePrepared } from './half-message-publisher.js';
import type { HalfMessage } from './half-message-tables.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';
import { ParkedPreparedMessages } from './park-prepared-message.js';
import { type Verdict, Verdicts } from './verdicts.js';

/**
 * Checks expired prepared messages in any live instance of the producer. The row in `dtx_half` is the answer, so the user
 * writes no check handler.
 */
@Injectable()
export class CheckBack implements OnModuleInit, OnModuleDestroy {
  private readonly logger = libraryLogger('check-back');
  private consumer: ConsumedQueue | undefined;

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly preparedMessages: PreparedMessages,
    private readonly verdicts: Verdicts,
    private readonly parked: ParkedPreparedMessages,
    private readonly background: BackgroundWork,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(HALF_MESSAGE_OPTIONS) private readonly options: HalfMessageOptions,
  ) {}

  onModuleInit(): void {
    const how = { prefetch: this.options.checkPrefetch, kind: 'replicated' } as const;
    const { checkQueue } = this.preparedMessages;
    const receive = (delivery: Delivery) => this.receive(delivery);
    if (this.background.isContinuous)
      this.database.onReady(() => {
        this.consumer = this.broker.consume(checkQueue, receive, how);
      });
    this.background.register({
      name: 'check of half messages',
      phase: 'receive',
      runOnce: async (until) => (this.consumer ? 0 : this.broker.drain(checkQueue, receive, { ...how, until })),
    });
  }

  async onModuleDestroy(): Promise<void> {
    await this.consumer?.stop(this.core.drainMs);
  }

  private async receive(delivery: Delivery): Promise<void> {
    const { content } = delivery.message;
    // guard: half-message.copy
    const prepared = parsePrepared(content);
    // An unavailable database or broker does not count as a check. The delivery stays unacked and is retried here.
    const patience = { lost: delivery.lost, reconnect: this.core.reconnect };
    if (prepared) await retryWhileUnavailable(patience, () => this.check(prepared));
    // If a committed message was behind it, the sweeper sends that message.
    else
      this.logger.error(
        `discarded an invalid message from queue ${this.broker.publisher.nameAtBroker(this.preparedMessages.checkQueue, 'replicated')}; the sweeper sends the half message, ` +
          `check who publishes there: ${printable(content)}`,
      );
    delivery.ack();
  }

  /** Settles one prepared message: publishes the message, drops it, or checks again later. */
  check(prepared: PreparedMessage): Promise<void> {
    return inContextOf(prepared.message, async () => {
      if (!(await this.settle(prepared.message))) await this.postpone(prepared);
    });
  }

  /** Settles a parked prepared message, without the broker. Returns false if its outcome is still unknown. */
  recheck(message: HalfMessage): Promise<boolean> {
    return inContextOf(message, () => this.settle(message));
  }

  private async settle(message: HalfMessage): Promise<boolean> {
    const verdict = (await this.verdicts.read(message.id)) ?? (await this.rule(message));
    if (verdict === 'COMMITTED' || verdict === 'PARKED') await this.deliver(message);
    // After SENT, DONE or ROLLED_BACK, dropping the prepared message completes it.
    return verdict !== 'UNKNOWN';
  }

  /** Claims the verdict. A read without a result proves nothing, since the local transaction may be open or yet to begin. */
  private async rule(message: HalfMessage): Promise<Verdict | 'UNKNOWN'> {
    // guard: half-message.rule
    const verdict = await this.verdicts.claim(message);
    if (verdict === 'ROLLED_BACK') await failpoint(failpoints.ruled, async () => {});
    return verdict;
  }

  private async deliver(message: HalfMessage): Promise<void> {
    try {
      const unsent = await this.verdicts.unsent(message);
      await failpoint(failpoints.checked, () => this.preparedMessages.deliver(unsent.message, unsent.madeAtMs));
    } catch (error) {
      // A resource alarm may only end when this consumer acks, so a blocked broker is not waited for here.
      if (isUnavailable(error) && !(error instanceof BrokerBlocked)) throw error;
      // The sweeper sends the row, counts its attempts and parks it with an alert.
      return this.logger.warn(
        `check cannot publish half message ${message.id}, the sweeper is retrying: ${textOf(error)}`,
      );
    }
    // Not awaited. If the mark is lost, the message is sent again and the inboxes of its consumers drop the duplicate.
    void this.verdicts
      .markSent(message)
      .catch((error) =>
        this.logger.warn(`cannot mark half message ${message.id} SENT, the sweeper is retrying: ${textOf(error)}`),
      );
  }

  /** Uses up one check, since the local transaction is open. The last check parks the prepared message with an alert. */
  private async postpone({ checks, message }: PreparedMessage): Promise<void> {
    const used = checks + 1;
    if (used < this.preparedMessages.checksMax)
      await failpoint(failpoints.postponed, () => this.preparedMessages.wait({ checks: used, message }));
    else await failpoint(failpoints.exhausted, () => this.parked.park(message, used));
  }
}

function inContextOf<T>({ gid, traceparent }: HalfMessage, run: () => Promise<T>): Promise<T> {
  return withTraceparent(traceparent, () => withGid(gid, run));
}
