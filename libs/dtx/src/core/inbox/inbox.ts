import { Inject, Injectable, Logger, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Alerts } from '../alert/alerts.js';
import { backoffMs } from '../backoff.js';
import type { Delivery } from '../broker/consumer.js';
import { Database } from '../database/database.service.js';
import { insertFirst, NOW, SqlExpression } from '../database/insert-first.js';
import { isBusy } from '../database/sql-errors.js';
import { inTransaction } from '../database/transaction.js';
import { inFuture } from '../durable/claim.js';
import { OutcomeUnknown, Rejected, textOf } from '../errors.js';
import { failpoint } from '../failpoint.js';
import type { CoreOptions } from '../options.js';
import { persist } from '../persist.js';
import { measure } from '../telemetry.js';
import { CORE_OPTIONS } from '../tokens.js';
import { withGid, withTraceparent } from '../trace.js';
import { inboxFailpoints } from './failpoints.js';
import { ANY_AGE, type Endpoint, type Incoming, incomingOf, type PayloadReader, read } from './incoming.js';
import { ReceiptSender } from './receipts.js';
import { inboxMigrations } from './schema.js';

/** HELD: the handler failed and the delivery waits in our own table; no receipt yet, since nothing is settled. */
export type InboxOutcome = 'HANDLED' | 'HELD' | 'PARKED';

/** The inbox row was there already: roll back and do nothing twice. */
class AlreadyThere extends Error {}

/**
 * The consumer side: the inbox row and the handler in one local transaction (at most once), then the receipt, then the
 * ack (at least once). Whatever cannot be handled is stored and acked, so that it never blocks those behind it.
 */
@Injectable()
export class Inbox implements OnModuleInit {
  private readonly logger = new Logger('Inbox');

  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    private readonly receipts: ReceiptSender,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {}

  onModuleInit(): void {
    this.database.addMigrations('dtx-inbox', inboxMigrations);
  }

  /** Handles one delivery to its ack. Returns without an ack only when the delivery was lost to us meanwhile. */
  async receive(delivery: Delivery, endpoint: Endpoint): Promise<void> {
    await this.take(delivery, endpoint);
    delivery.ack();
  }

  /** All of it but the ack: from its end on the delivery is handled, or stored here. */
  async take(delivery: Delivery, endpoint: Endpoint): Promise<void> {
    const incoming = incomingOf(delivery.message, endpoint.consumer);
    const { traceparent, gid } = incoming.info;
    await withTraceparent(traceparent, () => withGid(gid, () => this.takeOne(delivery, incoming, endpoint)));
  }

  private async takeOne(delivery: Delivery, incoming: Incoming, endpoint: Endpoint): Promise<void> {
    measure('delivered', { consumer: endpoint.consumer, lagMs: this.database.ageMs(incoming.info.messageId) });
    const patience = { lost: delivery.lost, reconnect: this.options.reconnect };
    const settled = await persist(patience, () => this.settle(incoming, endpoint));
    const outcome = await persist(patience, () => this.beforeAck(incoming, endpoint, settled));
    await persist(patience, () => this.receipt(incoming, outcome));
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
      await endpoint.beforeAck(message.payload, incoming.info);
      return outcome;
    } catch (error) {
      if (error instanceof OutcomeUnknown || (await this.database.isAway(error))) throw error;
      this.logger.warn(`${endpoint.consumer} before the ack of ${incoming.id}: ${textOf(error)}`);
      return this.holdSettled(incoming, textOf(error));
    }
  }

  private async settle(incoming: Incoming, endpoint: Endpoint): Promise<InboxOutcome> {
    const points = inboxFailpoints(incoming.info.scheme);
    const limits = { nowMs: this.database.nowMs(), retentionMs: this.options.inbox.retentionMs };
    const message = read(incoming, endpoint.contract, limits);
    if (!message.ok) return failpoint(points?.parked, () => this.park(incoming, message.problem));
    try {
      return await failpoint(points?.handled, () => this.handle(incoming, endpoint, message.payload));
    } catch (error) {
      if (await this.database.isAway(error)) throw error;
      if (error instanceof Rejected) {
        return failpoint(points?.parked, () =>
          this.park(incoming, `refused (${error.reason}) and the consumer has no @OnRejected`),
        );
      }
      this.logger.warn(`${endpoint.consumer} failed on ${incoming.info.messageId}: ${textOf(error)}`);
      return failpoint(points?.held, () => this.hold(incoming, error));
    }
  }

  /** Inbox row and business in one transaction; a refusal rolls that back and commits row and refusal instead. */
  private async handle(incoming: Incoming, endpoint: Endpoint, payload: PayloadReader): Promise<InboxOutcome> {
    try {
      return await this.first(incoming, { state: 'HANDLED', settled_at: NOW }, (tx) =>
        endpoint.handle(tx, payload, incoming.info),
      );
    } catch (error) {
      const reject = endpoint.reject;
      if (!(error instanceof Rejected) || !reject) throw error;
      const row = { state: 'HANDLED', outcome: error.reason.slice(0, 64), settled_at: NOW };
      return this.first(incoming, row, (tx) => reject(tx, payload, error, incoming.info));
    }
  }

  private hold(incoming: Incoming, error: unknown): Promise<InboxOutcome> {
    const { attemptsMax, backoff } = this.options.inbox;
    // A row that somebody else holds is nothing that the handler has failed at.
    const attempts = isBusy(error) ? 0 : 1;
    if (attempts >= attemptsMax) return this.park(incoming, textOf(error));
    measure('retried', { scheme: incoming.info.scheme });
    const due = new SqlExpression(inFuture(backoffMs(backoff, 1)));
    const held = { state: 'RETRYING', attempts, next_attempt_at: due, last_error: textOf(error).slice(0, 1_000) };
    return this.first(incoming, { ...held, ...stored(incoming) }, async () => {});
  }

  private async holdSettled(incoming: Incoming, problem: string): Promise<InboxOutcome> {
    measure('retried', { scheme: incoming.info.scheme });
    const { body, reply_to, traceparent } = stored(incoming);
    await this.database.own.query(
      `UPDATE dtx_inbox SET state = 'RETRYING', attempts = 1, next_attempt_at = ${inFuture(backoffMs(this.options.inbox.backoff, 1))},
       last_error = ?, body = ?, reply_to = ?, traceparent = ? WHERE id = ? AND state = 'HANDLED'`,
      [problem.slice(0, 1_000), body, reply_to, traceparent, incoming.id],
    );
    return 'HELD';
  }

  private async park(incoming: Incoming, problem: string): Promise<InboxOutcome> {
    const { info } = incoming;
    const step = `${info.consumer} reading ${incoming.type ?? 'a message without a type'}`;
    const incident = { scheme: info.scheme, id: incoming.id, gid: info.gid, step, lastError: problem };
    const row = {
      state: 'PARKED',
      last_error: problem.slice(0, 1_000),
      next_attempt_at: '9999-12-31 00:00:00.000',
      ...stored(incoming),
    };
    let raised = false;
    const outcome = await this.first(incoming, row, async (tx) => {
      await this.alerts.raise(tx, incident);
      raised = true;
    });
    if (raised) this.alerts.announce(incident);
    return outcome;
  }

  /** At most once per message and consumer: whoever inserts the row first does the work, all others learn its state. */
  private async first(
    incoming: Incoming,
    row: Record<string, unknown>,
    work: (tx: EntityManager) => Promise<void>,
  ): Promise<InboxOutcome> {
    const { messageId, consumer, gid, scheme } = incoming.info;
    const common = {
      id: incoming.id,
      message_id: messageId,
      consumer,
      gid,
      scheme,
      type: incoming.type,
      created_at: NOW,
    };
    try {
      await inTransaction(this.database.source, async (tx) => {
        const isFirst = await failpoint(inboxFailpoints(scheme)?.inserted, () =>
          insertFirst(tx, 'dtx_inbox', { ...common, ...row }),
        );
        if (!isFirst) throw new AlreadyThere();
        await work(tx);
      });
      return row.state === 'RETRYING' ? 'HELD' : (row.state as InboxOutcome);
    } catch (error) {
      if (error instanceof AlreadyThere) return this.outcomeOf(incoming.id);
      throw error;
    }
  }

  private async outcomeOf(id: string): Promise<InboxOutcome> {
    const rows = await this.database.source.query('SELECT state FROM dtx_inbox WHERE id = ?', [id]);
    const state = rows[0]?.state;
    return state === 'RETRYING' ? 'HELD' : state === 'PARKED' ? 'PARKED' : 'HANDLED';
  }
}

/** What a row needs to be handled later without the broker. */
function stored(incoming: Incoming): Record<string, unknown> {
  return { body: incoming.body, reply_to: incoming.replyTo, traceparent: incoming.info.traceparent };
}
