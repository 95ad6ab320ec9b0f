import { Inject, Injectable, Logger, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { persist } from '../async/retry-while-unavailable.js';
import { inTimeOf } from '../async/time-limit.js';
import type { Delivery } from '../broker/queue-consumer.js';
import { BrokerBlocked } from '../broker/queue-declarer.js';
import { Database } from '../database/database.service.js';
import { insertOf, NOW, type Values } from '../database/insert-first.js';
import { isBrokerAway, isDoneInPart, Rejected, textOf } from '../errors/errors.js';
import { failpoint } from '../failpoint.js';
import type { CoreOptions } from '../options.js';
import { measure } from '../telemetry.js';
import { CORE_OPTIONS } from '../tokens.js';
import { withGid, withTraceparent } from '../trace.js';
import { inboxFailpoints } from './failpoints.js';
import { inboxMigrations } from './inbox-table.js';
import {
  ANY_AGE,
  type Endpoint,
  type Incoming,
  incomingOf,
  type PayloadReader,
  type Read,
  read,
} from './incoming-message.js';
import { Crowd } from './lock-crowd.js';
import { ReceiptSender } from './receipt-sender.js';
import { type InboxOutcome, rowOf, StoredDeliveries } from './stored-deliveries.js';

/** The inbox row was there already: roll back and do nothing twice. */
class AlreadyThere extends Error {}

/**
 * The consumer side: the inbox row and the handler in one local transaction (at most once), then the receipt, then the
 * ack (at least once). Whatever cannot be handled is stored and acked, so that it never blocks those behind it.
 */
@Injectable()
export class Inbox implements OnModuleInit {
  private readonly logger = new Logger('Inbox');
  private readonly crowd: Crowd;

  constructor(
    private readonly database: Database,
    private readonly stored: StoredDeliveries,
    private readonly receipts: ReceiptSender,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {
    this.crowd = new Crowd(options.prefetch);
  }

  onModuleInit(): void {
    this.database.addMigrations('dtx-inbox', inboxMigrations);
  }

  /** Handles one delivery to its ack. Returns without an ack only when the delivery was lost to us meanwhile. */
  async receive(delivery: Delivery, endpoint: Endpoint): Promise<void> {
    await this.take(delivery, endpoint);
    // guard: inbox.ack
    delivery.ack();
  }

  /** All of it but the ack: from its end on the delivery is handled, or stored here. */
  async take(delivery: Delivery, endpoint: Endpoint): Promise<InboxOutcome> {
    // guard: inbox.take
    const incoming = incomingOf(delivery.message, endpoint.consumer);
    const { traceparent, gid } = incoming.info;
    return withTraceparent(traceparent, () => withGid(gid, () => this.takeOne(delivery, incoming, endpoint)));
  }

  private async takeOne(delivery: Delivery, incoming: Incoming, endpoint: Endpoint): Promise<InboxOutcome> {
    measure('delivered', { consumer: endpoint.consumer, lagMs: this.database.ageMs(incoming.info.messageId) });
    const patience = { lost: delivery.lost, reconnect: this.options.reconnect };
    const isAgain = delivery.message.fields.redelivered;
    const settle = () => (isAgain ? this.stored.holdAgain(incoming, endpoint) : this.settle(incoming, endpoint));
    const settled = await persist(patience, settle);
    // guard: inbox.before-ack
    const outcome = await persist(patience, () => this.beforeAck(incoming, endpoint, settled));
    await persist(patience, () => this.receipt(incoming, outcome));
    return outcome;
  }

  /** Tells the sender, if the message is settled and has one. */
  async receipt(incoming: Incoming, outcome: InboxOutcome): Promise<void> {
    if (outcome === 'HELD' || !incoming.replyTo) return;
    const { messageId, consumer, scheme } = incoming.info;
    const queue = incoming.replyTo;
    await failpoint(inboxFailpoints(scheme)?.receipted, () =>
      this.receipts.send(queue, { messageId, consumer, outcome }),
    );
  }

  /**
   * What the consumer does between its commit and the ack, also for a duplicate: should the process die in between, the
   * redelivery comes by here again. When it fails for another reason than an outage, the row is held although its
   * business is settled, and the loop over held rows goes on with this step alone.
   */
  private async beforeAck(incoming: Incoming, endpoint: Endpoint, outcome: InboxOutcome): Promise<InboxOutcome> {
    if (outcome !== 'HANDLED' || !endpoint.beforeAck) return outcome;
    const message = read(incoming, endpoint.contract, ANY_AGE);
    // A person has settled what nobody could read: there is nothing to act on.
    if (!message.ok) return outcome;
    try {
      const { beforeAck } = endpoint;
      const what = `@BeforeAck(${incoming.type}) of ${endpoint.consumer}`;
      const limitMs = this.options.handlerTimeoutMs;
      await inTimeOf({ what, limitMs }, () => beforeAck(message.payload, incoming.info));
      return outcome;
    } catch (error) {
      // Blocked for an alarm, which only consuming may end: the step is done later, from its row, and this delivery acked.
      if (error instanceof BrokerBlocked) return this.stored.holdSettled(incoming, endpoint, textOf(error));
      // Of what the step may throw, only this says that it can be waited for: another one that is unknown may stay so.
      if (isBrokerAway(error) || (await this.database.isAway(error))) throw error;
      this.logger.warn(`${endpoint.consumer} before the ack of ${incoming.id}: ${textOf(error)}`);
      return this.stored.holdSettled(incoming, endpoint, textOf(error));
    }
  }

  /** That a message is too old is said by the database's own clock: it may have jumped since it was last read. */
  async read(incoming: Incoming, { contract }: Endpoint): Promise<Read> {
    const { retentionMs } = this.options.inbox;
    const message = read(incoming, contract, { nowMs: this.database.nowMs(), retentionMs });
    if (message.ok || !message.isTooOld) return message;
    return read(incoming, contract, { nowMs: await this.database.readNowMs(), retentionMs });
  }

  private async settle(incoming: Incoming, endpoint: Endpoint): Promise<InboxOutcome> {
    const points = inboxFailpoints(incoming.info.scheme);
    const message = await this.read(incoming, endpoint);
    if (!message.ok) return failpoint(points?.parked, () => this.stored.park(incoming, endpoint, message.problem));
    try {
      return await failpoint(points?.handled, () => this.handle(incoming, endpoint, message.payload));
    } catch (error) {
      if (await this.database.isAway(error)) throw error;
      if (error instanceof Rejected) {
        return failpoint(points?.parked, () =>
          this.stored.park(incoming, endpoint, `refused (${error.reason}) and the consumer has no @OnRejected`),
        );
      }
      this.logger.warn(`${endpoint.consumer} failed on ${incoming.info.messageId}: ${textOf(error)}`);
      if (isDoneInPart(error))
        return failpoint(points?.parked, () => this.stored.parkInPart(incoming, endpoint, error));
      return failpoint(points?.held, () => this.stored.hold(incoming, endpoint, error));
    }
  }

  /** Inbox row and business in one transaction; a refusal rolls that back and commits row and refusal instead. */
  private async handle(incoming: Incoming, endpoint: Endpoint, payload: PayloadReader): Promise<InboxOutcome> {
    try {
      const what = `@OnMessage(${incoming.type}) of ${endpoint.consumer}`;
      return await this.first(incoming, { state: 'HANDLED', settled_at: NOW }, what, (tx) =>
        endpoint.handle(tx, payload, incoming.info),
      );
    } catch (error) {
      const reject = endpoint.reject;
      if (!(error instanceof Rejected) || !reject) throw error;
      const row = { state: 'HANDLED', outcome: error.reason.slice(0, 64), settled_at: NOW };
      const what = `@OnRejected(${incoming.type}) of ${endpoint.consumer}`;
      return this.first(incoming, row, what, (tx) => reject(tx, payload, error, incoming.info));
    }
  }

  /** At most once per message and consumer: whoever inserts the row first does the work, all others learn its state. */
  private async first(
    incoming: Incoming,
    row: Values,
    what: string,
    work: (tx: EntityManager) => Promise<void>,
  ): Promise<InboxOutcome> {
    // guard: inbox.row
    const insert = insertOf('dtx_inbox', { ...rowOf(incoming), ...row });
    try {
      await this.crowd.within(incoming.info.consumer, (lockWaitSeconds) =>
        this.database.work.run({
          what,
          consumer: incoming.info.consumer,
          lockWaitSeconds,
          // guard: inbox.first
          first: { ...insert, ifThere: () => new AlreadyThere() },
          run: async (tx) => {
            await failpoint(inboxFailpoints(incoming.info.scheme)?.inserted, async () => {});
            await work(tx);
          },
        }),
      );
      return 'HANDLED';
    } catch (error) {
      if (error instanceof AlreadyThere) return this.stored.outcomeOf(incoming.id);
      throw error;
    }
  }
}
