import { Inject, Injectable, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { retryWhileUnavailable } from '../async/retry-while-unavailable.js';
import { inTimeOf } from '../async/user-code-time-limit.js';
import { heldKeyNote } from '../broker/ordered-messages.js';
import type { Delivery } from '../broker/queue-consumer.js';
import { BrokerBlocked } from '../broker/queue-declarations.js';
import { NOW } from '../database/clock-sql.js';
import { Database } from '../database/database.service.js';
import { firstUnlessThere, insertOf, type Values } from '../database/insert-first.js';
import type { Unit } from '../database/unit-of-work.js';
import { isBrokerUnavailable, isDoneInPart, Rejected, textOf } from '../errors/errors.js';
import { failpoint } from '../failpoint.js';
import { CORE_OPTIONS } from '../injection-tokens.js';
import { libraryLogger } from '../library-logger.js';
import type { CoreOptions } from '../options.js';
import { emit } from '../telemetry-events.js';
import { withTraceAndGid } from '../trace-and-gid-context.js';
import { Crowd } from './crowded-consumer-lock-waits.js';
import { inboxFailpoints } from './failpoints.js';
import { inboxMigrations } from './inbox-table.js';
import {
  type AgeLimits,
  ANY_AGE,
  type Checked,
  check,
  type Endpoint,
  type Incoming,
  incomingOf,
  lagOf,
  type PayloadReader,
  type Read,
  read,
} from './incoming-message.js';
import { ReceiptSender } from './receipt-sender.js';
import { type InboxOutcome, rowOf, StoredDeliveries } from './store-or-park-delivery.js';

/** The inbox row exists already, so the transaction is rolled back. */
class AlreadyThere extends Error {}

/**
 * The consumer side of a message. Inbox row and handler commit in one local transaction (at most once). The receipt and
 * then the ack follow (at least once). A delivery that cannot be handled is stored and acked, so it never blocks the
 * deliveries behind it. If the process dies before the commit, no row exists. The redelivery is then checked, stored as
 * RETRYING and handled by the retry loop. If it dies later, the row identifies the redelivery as a duplicate.
 */
@Injectable()
export class Inbox implements OnModuleInit {
  private readonly logger = libraryLogger('inbox');
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

  /** Handles one delivery up to its ack. */
  async receive(delivery: Delivery, endpoint: Endpoint): Promise<void> {
    await this.take(delivery, endpoint);
    // guard: inbox.ack
    delivery.ack();
  }

  /** Handles or stores one delivery, without the ack. */
  async take(delivery: Delivery, endpoint: Endpoint): Promise<InboxOutcome> {
    // guard: inbox.take
    const incoming = incomingOf(delivery.message, endpoint.consumer);
    const { traceparent, gid } = incoming.info;
    return withTraceAndGid({ traceparent, gid }, () => this.takeOne(delivery, incoming, endpoint));
  }

  private async takeOne(delivery: Delivery, incoming: Incoming, endpoint: Endpoint): Promise<InboxOutcome> {
    emit('delivered', { consumer: endpoint.consumer, lagMs: lagOf(incoming, this.database) });
    const patience = { lost: delivery.lost, reconnect: this.options.reconnect };
    const isAgain = delivery.message.fields.redelivered;
    const settle = () => (isAgain ? this.settleAgain(incoming, endpoint) : this.settle(incoming, endpoint));
    const settled = await retryWhileUnavailable(patience, settle);
    // guard: inbox.before-ack
    const outcome = endpoint.beforeAck
      ? await retryWhileUnavailable(patience, () => this.beforeAck(incoming, endpoint, settled))
      : settled;
    await retryWhileUnavailable(patience, () => this.receipt(incoming, outcome));
    return outcome;
  }

  /** Sends the receipt if the message is settled and the sender expects one. A withdrawn one is settled as a handled one. */
  async receipt(incoming: Incoming, settled: InboxOutcome): Promise<void> {
    if (settled === 'RETRYING' || !incoming.replyTo) return;
    const outcome = settled === 'WITHDRAWN' ? 'HANDLED' : settled;
    const { messageId, consumer, scheme } = incoming.info;
    const queue = incoming.replyTo;
    await failpoint(inboxFailpoints(scheme)?.receipted, () =>
      this.receipts.send(queue, { messageId, consumer, outcome }),
    );
  }

  /**
   * Runs `@BeforeAck` between the commit and the ack, also for a duplicate, but not for a withdrawn message. If the process dies in between, the
   * redelivery runs it again. After a failure other than an outage, the row becomes RETRYING although its business is
   * committed, and the retry loop repeats only this step.
   */
  private async beforeAck(incoming: Incoming, endpoint: Endpoint, outcome: InboxOutcome): Promise<InboxOutcome> {
    if (outcome !== 'HANDLED' || !endpoint.beforeAck) return outcome;
    const message = read(incoming, endpoint.contract, ANY_AGE);
    // An operator resolved an unreadable message, so `@BeforeAck` has no input.
    if (!message.ok) return outcome;
    try {
      const { beforeAck } = endpoint;
      const what = `@BeforeAck(${incoming.type}) of ${endpoint.consumer}`;
      const limitMs = this.options.handlerTimeoutMs;
      await inTimeOf({ what, limitMs }, () => beforeAck(message.payload, incoming.info));
      return outcome;
    } catch (error) {
      // The broker blocks publishers for an alarm, which only consuming ends. The delivery is acked and the retry loop
      // runs the step.
      if (error instanceof BrokerBlocked) return this.stored.retryBeforeAck(incoming, endpoint, textOf(error));
      // The delivery waits only for the broker and for the own database. Another unknown outcome may stay unknown.
      if (isBrokerUnavailable(error) || (await this.database.isAway(error))) throw error;
      this.logger.warn(`@BeforeAck of ${endpoint.consumer} failed for ${incoming.id}, retrying: ${textOf(error)}`);
      return this.stored.retryBeforeAck(incoming, endpoint, textOf(error));
    }
  }

  /** Reads a message within the limits of its age. */
  read(incoming: Incoming, { contract }: Endpoint): Promise<Read> {
    return this.withinAge((limits) => read(incoming, contract, limits));
  }

  /** As `read`, without code of the user. */
  check(incoming: Incoming, { contract }: Endpoint): Promise<Checked> {
    return this.withinAge((limits) => check(incoming, contract, limits));
  }

  /** Before a message is rejected as too old, the database clock is read again, because that clock may have jumped. */
  private async withinAge<Result extends Checked>(checkBy: (limits: AgeLimits) => Result): Promise<Result> {
    const { retentionMs } = this.options.inbox;
    const checked = checkBy({ nowMs: this.database.nowMs(), retentionMs });
    if (checked.ok || !checked.isTooOld) return checked;
    return checkBy({ nowMs: await this.database.readNowMs(), retentionMs });
  }

  /**
   * Stores a redelivery for the retry loop, or parks it. The row that it inserts proves nothing about an earlier handling,
   * so type, id and age are checked first. The schema is code of the user and may kill the process, so it runs behind the
   * row. The outcome of a row that exists stays. If the process dies before the insert, the next redelivery is checked
   * again.
   */
  private async settleAgain(incoming: Incoming, endpoint: Endpoint): Promise<InboxOutcome> {
    const checked = await this.check(incoming, endpoint);
    if (checked.ok) return this.stored.storeRedelivery(incoming, endpoint);
    return this.parkUnread(incoming, endpoint, checked.problem);
  }

  private parkUnread(incoming: Incoming, endpoint: Endpoint, problem: string): Promise<InboxOutcome> {
    return failpoint(inboxFailpoints(incoming.info.scheme)?.parked, () =>
      this.stored.park(incoming, endpoint, problem + heldKeyNote(endpoint.contract, null)),
    );
  }

  private async settle(incoming: Incoming, endpoint: Endpoint): Promise<InboxOutcome> {
    const points = inboxFailpoints(incoming.info.scheme);
    const message = await this.read(incoming, endpoint);
    if (!message.ok) return this.parkUnread(incoming, endpoint, message.problem);
    try {
      return await failpoint(points?.handled, () => this.handle(incoming, endpoint, message.payload));
    } catch (error) {
      if (await this.database.isAway(error)) throw error;
      if (error instanceof Rejected) {
        return failpoint(points?.parked, () =>
          this.stored.park(
            incoming,
            endpoint,
            `rejected (${error.reason}), and ${endpoint.consumer} has no @OnRejected${heldKeyNote(endpoint.contract, message.payload)}`,
          ),
        );
      }
      const failed = `${endpoint.consumer} failed on ${incoming.info.messageId}`;
      const table = this.database.names.inDatabase('dtx_inbox');
      this.logger.warn(`${failed}, storing it in ${table} for a retry or an alert: ${textOf(error)}`);
      if (isDoneInPart(error))
        return failpoint(points?.parked, () => this.stored.parkInPart(incoming, endpoint, error));
      return failpoint(points?.held, () => this.stored.storeFailure(incoming, endpoint, error));
    }
  }

  /**
   * Commits inbox row and business in one transaction. A `Rejected` rolls both back, and a second transaction commits
   * row and `@OnRejected`.
   */
  private async handle(incoming: Incoming, endpoint: Endpoint, payload: PayloadReader): Promise<InboxOutcome> {
    try {
      const what = `@OnMessage(${incoming.type}) of ${endpoint.consumer}`;
      const { sharing } = endpoint;
      return await this.first(incoming, { state: 'HANDLED', settled_at: NOW }, { what, sharing }, (tx) =>
        endpoint.handle(tx, payload, incoming.info),
      );
    } catch (error) {
      const reject = endpoint.reject;
      if (!(error instanceof Rejected) || !reject) throw error;
      const row = { state: 'HANDLED', outcome: error.reason.slice(0, 64), settled_at: NOW };
      const what = `@OnRejected(${incoming.type}) of ${endpoint.consumer}`;
      return this.first(incoming, row, { what }, (tx) => reject(tx, payload, error, incoming.info));
    }
  }

  /**
   * Does the work once per message and consumer. The transaction that inserts the row does it. Others read its state.
   */
  private async first(
    incoming: Incoming,
    row: Values,
    { what, sharing }: Pick<Unit<void>, 'what' | 'sharing'>,
    work: (tx: EntityManager) => Promise<void>,
  ): Promise<InboxOutcome> {
    const known = await this.stored.outcomeIfRecent(incoming.id);
    if (known) return known;
    // guard: inbox.row
    const insert = insertOf('dtx_inbox', { ...rowOf(incoming), ...row });
    try {
      await this.crowd.within(incoming.info.consumer, (lockWaitSeconds) =>
        this.database.work.run({
          what,
          sharing,
          consumer: incoming.info.consumer,
          lockWaitSeconds,
          // guard: inbox.first
          first: firstUnlessThere(insert, () => new AlreadyThere()),
          run: async (tx) => {
            await failpoint(inboxFailpoints(incoming.info.scheme)?.inserted, async () => {});
            await work(tx);
          },
        }),
      );
      this.stored.remember(incoming.id);
      return 'HANDLED';
    } catch (error) {
      if (error instanceof AlreadyThere) return this.stored.outcomeOf(incoming.id);
      throw error;
    }
  }
}
