import { Inject, Injectable } from '@nestjs/common';
import { backoffMs } from '../async/backoff.js';
import { Database } from '../database/database.service.js';
import { insertFirst, NOW, SqlExpression, type Values } from '../database/insert-first.js';
import { whyUnstorable } from '../database/unstorable.js';
import { Alerts } from '../durable/alerts.js';
import { inFuture } from '../durable/claim.js';
import { parkedColumns } from '../durable/settle.js';
import { textOf } from '../errors/errors.js';
import { isBusy } from '../errors/sql-errors.js';
import { failpoint } from '../failpoint.js';
import type { CoreOptions } from '../options.js';
import { measure } from '../telemetry.js';
import { CORE_OPTIONS } from '../tokens.js';
import { inboxFailpoints } from './failpoints.js';
import type { Endpoint, Incoming } from './incoming-message.js';

/** HELD: the handler failed and the delivery waits in our own table; no receipt yet, since nothing is settled. */
export type InboxOutcome = 'HANDLED' | 'HELD' | 'PARKED';

/**
 * Deliveries that were not handled, as rows: RETRYING for the loop over them, PARKED for a person. From the row on they
 * need no broker, and whoever inserts it first has the say.
 */
@Injectable()
export class StoredDeliveries {
  private heard: () => void = () => {};

  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {}

  /** Calls back when a delivery was stored that is due at once. */
  onHeld(listener: () => void): void {
    this.heard = listener;
  }

  /** Its handler has failed: due again after a wait, or parked where it was the last attempt. */
  async hold(incoming: Incoming, endpoint: Endpoint, error: unknown): Promise<InboxOutcome> {
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
  async holdAgain(incoming: Incoming, endpoint: Endpoint): Promise<InboxOutcome> {
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
    try {
      // Not with the user's mode: under ORACLE `body` is no name for a column.
      const isFirst = await insertFirst(this.database.own, 'dtx_inbox', row);
      return isFirst ? 'HELD' : this.outcomeOf(incoming.id);
    } catch (error) {
      const why = await whyUnstorable(this.database.own, error, incoming.body);
      if (why === null) throw error;
      return this.parkRow(withoutBody(incoming), endpoint, why);
    }
  }

  /**
   * Writes a row with its body and, where that can never be written, without: a delivery that circles for ever would take
   * the place of those that can be handled. If this fails as well, the delivery is given back, rarer each time.
   */
  private async orWithoutBody<T>(incoming: Incoming, write: (one: Incoming, why?: string) => Promise<T>): Promise<T> {
    try {
      return await write(incoming);
    } catch (error) {
      const why = await whyUnstorable(this.database.own, error, incoming.body);
      if (why === null) throw error;
      return write(withoutBody(incoming), why);
    }
  }

  /** Its business is committed, and what comes before the ack has failed: that step alone is due again. */
  async holdSettled(incoming: Incoming, endpoint: Endpoint, problem: string): Promise<InboxOutcome> {
    measure('retried', { scheme: incoming.info.scheme });
    const { body, reply_to, traceparent } = stored(incoming, undefined);
    try {
      await this.database.own.query(
        `UPDATE dtx_inbox SET state = 'RETRYING', attempts = 1, next_attempt_at = ${inFuture(backoffMs(this.options.inbox.backoff, 1))},
         last_error = ?, body = ?, reply_to = ?, traceparent = ?, before_ack = 1 WHERE id = ? AND state = 'HANDLED'`,
        [problem.slice(0, 1_000), body, reply_to, traceparent, incoming.id],
      );
      return 'HELD';
    } catch (error) {
      const why = await whyUnstorable(this.database.own, error, incoming.body);
      if (why === null) throw error;
      const step = `${incoming.info.consumer} before the ack of ${incoming.type}`;
      return this.parkThere(withoutBody(incoming), endpoint, { step, lastError: `${problem}; ${why}` });
    }
  }

  /** It cannot be handled, however often: for a person, with one alert. */
  park(incoming: Incoming, endpoint: Endpoint, problem: string): Promise<InboxOutcome> {
    return this.orWithoutBody(incoming, (one, why) =>
      this.parkRow(one, endpoint, why === undefined ? problem : `${problem}; ${why}`),
    );
  }

  private async parkRow(incoming: Incoming, endpoint: Endpoint, problem: string): Promise<InboxOutcome> {
    const { info } = incoming;
    const step = `${info.consumer} reading ${incoming.type ?? 'a message without a type'}`;
    const incident = { scheme: info.scheme, id: incoming.id, gid: info.gid, step, lastError: problem };
    const row = { ...rowOf(incoming), ...parkedColumns(problem), ...stored(incoming, endpoint) };
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
  parkInPart(incoming: Incoming, endpoint: Endpoint, error: Error): Promise<InboxOutcome> {
    const step = `${incoming.info.consumer} handling ${incoming.type}`;
    const lastError = `a part of it may be done: ${error.message}`;
    return this.orWithoutBody(incoming, (one, why) =>
      this.parkThere(one, endpoint, { step, lastError: why === undefined ? lastError : `${lastError}; ${why}` }),
    );
  }

  /** Whether its row is there or not: PARKED, with one alert. */
  private async parkThere(
    incoming: Incoming,
    endpoint: Endpoint,
    { step, lastError }: { step: string; lastError: string },
  ): Promise<InboxOutcome> {
    const { info } = incoming;
    const incident = { scheme: info.scheme, id: incoming.id, gid: info.gid, step, lastError };
    const isNew = await this.database.own.transaction(async (sql) => {
      const parked = { ...parkedColumns(lastError), ...stored(incoming, endpoint) };
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

  /** What has become of a delivery; HANDLED where there is no row. */
  async outcomeOf(id: string): Promise<InboxOutcome> {
    const rows = await this.database.work.query('SELECT state FROM dtx_inbox WHERE id = ?', [id]);
    const state = rows[0]?.state;
    return state === 'RETRYING' ? 'HELD' : state === 'PARKED' ? 'PARKED' : 'HANDLED';
  }
}

/** What every row of the inbox has, whatever became of its message. */
export function rowOf({ id, info, type }: Incoming): Values {
  const { messageId: message_id, consumer, gid, scheme } = info;
  return { id, message_id, consumer, gid, scheme, type, created_at: NOW };
}

/** What a row needs to be handled later without the broker. */
function stored({ body, replyTo: reply_to, info: { traceparent } }: Incoming, endpoint: Endpoint | undefined) {
  return { body, reply_to, traceparent, before_ack: endpoint?.beforeAck ? 1 : 0 };
}

function withoutBody(incoming: Incoming): Incoming {
  return { ...incoming, body: Buffer.alloc(0) };
}
