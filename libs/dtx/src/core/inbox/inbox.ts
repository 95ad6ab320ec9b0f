import { Inject, Injectable, Logger, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Alerts } from '../alert/alerts.js';
import { backoffMs } from '../backoff.js';
import type { Delivery } from '../broker/consumer.js';
import { Database } from '../database/database.service.js';
import { insertFirst, insertOf, NOW, SqlExpression, type Values } from '../database/insert-first.js';
import { isBusy } from '../database/sql-errors.js';
import { inFuture, NEVER_BY_ITSELF } from '../durable/claim.js';
import { BrokerUnavailable, isDoneInPart, Rejected, textOf } from '../errors.js';
import { failpoint } from '../failpoint.js';
import type { CoreOptions } from '../options.js';
import { persist } from '../persist.js';
import { measure } from '../telemetry.js';
import { CORE_OPTIONS } from '../tokens.js';
import { withGid, withTraceparent } from '../trace.js';
import { inboxFailpoints } from './failpoints.js';
import { ANY_AGE, type Endpoint, type Incoming, incomingOf, type PayloadReader, type Read, read } from './incoming.js';
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
  private heard: () => void = () => {};

  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    private readonly receipts: ReceiptSender,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {}

  onModuleInit(): void {
    this.database.addMigrations('dtx-inbox', inboxMigrations);
  }

  /** Calls back when a delivery was stored that is due at once. */
  onHeld(listener: () => void): void {
    this.heard = listener;
  }

  /** Handles one delivery to its ack. Returns without an ack only when the delivery was lost to us meanwhile. */
  async receive(delivery: Delivery, endpoint: Endpoint): Promise<void> {
    await this.take(delivery, endpoint);
    delivery.ack();
  }

  /** All of it but the ack: from its end on the delivery is handled, or stored here. */
  async take(delivery: Delivery, endpoint: Endpoint): Promise<InboxOutcome> {
    const incoming = incomingOf(delivery.message, endpoint.consumer);
    const { traceparent, gid } = incoming.info;
    return withTraceparent(traceparent, () => withGid(gid, () => this.takeOne(delivery, incoming, endpoint)));
  }

  private async takeOne(delivery: Delivery, incoming: Incoming, endpoint: Endpoint): Promise<InboxOutcome> {
    measure('delivered', { consumer: endpoint.consumer, lagMs: this.database.ageMs(incoming.info.messageId) });
    const patience = { lost: delivery.lost, reconnect: this.options.reconnect };
    const isAgain = delivery.message.fields.redelivered;
    const settle = () => (isAgain ? this.holdAgain(incoming, endpoint) : this.settle(incoming, endpoint));
    const settled = await persist(patience, settle);
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
      await endpoint.beforeAck(message.payload, incoming.info);
      return outcome;
    } catch (error) {
      // Of what the step may throw, only this says that it can be waited for: another one that is unknown may stay so.
      if (error instanceof BrokerUnavailable || (await this.database.isAway(error))) throw error;
      this.logger.warn(`${endpoint.consumer} before the ack of ${incoming.id}: ${textOf(error)}`);
      return this.holdSettled(incoming, textOf(error));
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
    if (!message.ok) return failpoint(points?.parked, () => this.park(incoming, endpoint, message.problem));
    try {
      return await failpoint(points?.handled, () => this.handle(incoming, endpoint, message.payload));
    } catch (error) {
      if (await this.database.isAway(error)) throw error;
      if (error instanceof Rejected) {
        return failpoint(points?.parked, () =>
          this.park(incoming, endpoint, `refused (${error.reason}) and the consumer has no @OnRejected`),
        );
      }
      this.logger.warn(`${endpoint.consumer} failed on ${incoming.info.messageId}: ${textOf(error)}`);
      if (isDoneInPart(error)) return failpoint(points?.parked, () => this.parkInPart(incoming, endpoint, error));
      return failpoint(points?.held, () => this.hold(incoming, endpoint, error));
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

  private async hold(incoming: Incoming, endpoint: Endpoint, error: unknown): Promise<InboxOutcome> {
    const { attemptsMax, backoff } = this.options.inbox;
    // A row that somebody else holds is nothing that the handler has failed at.
    const attempts = isBusy(error) ? 0 : 1;
    if (attempts >= attemptsMax) return this.park(incoming, endpoint, textOf(error));
    const next_attempt_at = new SqlExpression(inFuture(backoffMs(backoff, 1)));
    return this.store(incoming, endpoint, { attempts, next_attempt_at, last_error: textOf(error).slice(0, 1_000) });
  }

  /**
   * A delivery that comes again may have ended the process that had it. It counts as an attempt, in a commit of its own
   * before anything else: where only a process that lives counts them, such a message would end them all, for ever.
   */
  private async holdAgain(incoming: Incoming, endpoint: Endpoint): Promise<InboxOutcome> {
    const attempts = Math.min(1, this.options.inbox.attemptsMax - 1);
    const again = { attempts, next_attempt_at: NOW, last_error: 'delivered before, and not acked' };
    const outcome = await failpoint(inboxFailpoints(incoming.info.scheme)?.held, () =>
      this.store(incoming, endpoint, again),
    );
    if (outcome === 'HELD') this.heard();
    return outcome;
  }

  /** The delivery as a row, from which it is handled without the broker. */
  private async store(incoming: Incoming, endpoint: Endpoint, due: Values): Promise<InboxOutcome> {
    measure('retried', { scheme: incoming.info.scheme });
    const row = { ...rowOf(incoming), state: 'RETRYING', ...due, ...stored(incoming, endpoint) };
    const isFirst = await insertFirst(this.database.work, 'dtx_inbox', row);
    return isFirst ? 'HELD' : this.outcomeOf(incoming.id);
  }

  private async holdSettled(incoming: Incoming, problem: string): Promise<InboxOutcome> {
    measure('retried', { scheme: incoming.info.scheme });
    const { body, reply_to, traceparent } = stored(incoming, undefined);
    await this.database.own.query(
      `UPDATE dtx_inbox SET state = 'RETRYING', attempts = 1, next_attempt_at = ${inFuture(backoffMs(this.options.inbox.backoff, 1))},
       last_error = ?, body = ?, reply_to = ?, traceparent = ?, before_ack = 1 WHERE id = ? AND state = 'HANDLED'`,
      [problem.slice(0, 1_000), body, reply_to, traceparent, incoming.id],
    );
    return 'HELD';
  }

  private async park(incoming: Incoming, endpoint: Endpoint, problem: string): Promise<InboxOutcome> {
    const { info } = incoming;
    const step = `${info.consumer} reading ${incoming.type ?? 'a message without a type'}`;
    const incident = { scheme: info.scheme, id: incoming.id, gid: info.gid, step, lastError: problem };
    const row = { ...rowOf(incoming), ...parkedFor(problem), ...stored(incoming, endpoint) };
    const isFirst = await this.database.own.transaction(async (sql) => {
      if (!(await insertFirst(sql, 'dtx_inbox', row))) return false;
      await this.alerts.raise(sql, incident);
      return true;
    });
    if (!isFirst) return this.outcomeOf(incoming.id);
    this.alerts.announce(incident);
    return 'PARKED';
  }

  /**
   * A statement of the handler's has committed a part of its work, and maybe the inbox row with it. To run it again would
   * do that part twice, to call it handled would leave the rest undone: a person must look. Repeated, it changes nothing.
   */
  async parkInPart(incoming: Incoming, endpoint: Endpoint, error: Error): Promise<InboxOutcome> {
    const { info } = incoming;
    const step = `${info.consumer} handling ${incoming.type}`;
    const lastError = `a part of it may be done: ${error.message}`;
    const incident = { scheme: info.scheme, id: incoming.id, gid: info.gid, step, lastError };
    const isNew = await this.database.own.transaction(async (sql) => {
      const parked = { ...parkedFor(lastError), ...stored(incoming, endpoint) };
      if (!(await insertFirst(sql, 'dtx_inbox', { ...rowOf(incoming), ...parked }))) {
        const { state, last_error, next_attempt_at, body, reply_to, traceparent } = parked;
        const { affectedRows } = await sql.query(
          `UPDATE dtx_inbox SET state = ?, last_error = ?, next_attempt_at = ?, body = ?, reply_to = ?, traceparent = ?,
             settled_at = NULL, claim_token = NULL WHERE id = ? AND state <> 'PARKED'`,
          [state, last_error, next_attempt_at, body, reply_to, traceparent, incoming.id],
        );
        if (affectedRows !== 1) return false;
      }
      return this.alerts.raise(sql, incident);
    });
    if (isNew) this.alerts.announce(incident);
    return 'PARKED';
  }

  /** At most once per message and consumer: whoever inserts the row first does the work, all others learn its state. */
  private async first(
    incoming: Incoming,
    row: Values,
    what: string,
    work: (tx: EntityManager) => Promise<void>,
  ): Promise<InboxOutcome> {
    const insert = insertOf('dtx_inbox', { ...rowOf(incoming), ...row });
    try {
      await this.database.work.run({
        what,
        first: { ...insert, ifThere: () => new AlreadyThere() },
        run: async (tx) => {
          await failpoint(inboxFailpoints(incoming.info.scheme)?.inserted, async () => {});
          await work(tx);
        },
      });
      return 'HANDLED';
    } catch (error) {
      if (error instanceof AlreadyThere) return this.outcomeOf(incoming.id);
      throw error;
    }
  }

  /** What has become of a delivery; HANDLED where there is no row. */
  async outcomeOf(id: string): Promise<InboxOutcome> {
    const rows = await this.database.work.query('SELECT state FROM dtx_inbox WHERE id = ?', [id]);
    const state = rows[0]?.state;
    return state === 'RETRYING' ? 'HELD' : state === 'PARKED' ? 'PARKED' : 'HANDLED';
  }
}

/** What every row of the inbox has, whatever became of its message. */
function rowOf({ id, info, type }: Incoming): Values {
  const { messageId: message_id, consumer, gid, scheme } = info;
  return { id, message_id, consumer, gid, scheme, type, created_at: NOW };
}

/** What a row needs to be handled later without the broker. */
function stored({ body, replyTo: reply_to, info: { traceparent } }: Incoming, endpoint: Endpoint | undefined) {
  return { body, reply_to, traceparent, before_ack: endpoint?.beforeAck ? 1 : 0 };
}

function parkedFor(problem: string) {
  return { state: 'PARKED', last_error: problem.slice(0, 1_000), next_attempt_at: new SqlExpression(NEVER_BY_ITSELF) };
}
