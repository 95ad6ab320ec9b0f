import { Inject, Injectable } from '@nestjs/common';
import { backoffMs } from '../async/backoff.js';
import { heldKeyNote } from '../broker/ordered-messages.js';
import { NOW } from '../database/clock-sql.js';
import { Database } from '../database/database.service.js';
import { insertFirst, type Values } from '../database/insert-first.js';
import { SqlExpression } from '../database/sql-literals.js';
import { whyUnstorable } from '../database/unstorable-body.js';
import { Alerts } from '../durable/alerts.js';
import { inFuture } from '../durable/claim-and-reschedule.js';
import { parkedColumns } from '../durable/settle-or-park.js';
import { textOf } from '../errors/errors.js';
import { isBusy } from '../errors/sql-errors.js';
import { failpoint } from '../failpoint.js';
import { CORE_OPTIONS } from '../injection-tokens.js';
import type { CoreOptions } from '../options.js';
import { emit } from '../telemetry-events.js';
import { inboxFailpoints } from './failpoints.js';
import { WITHDRAWN } from './inbox-table.js';
import type { Endpoint, Incoming } from './incoming-message.js';
import { RecentIds } from './recent-ids.js';

/**
 * RETRYING: the handler failed and the delivery waits in `dtx_inbox`. It gets no receipt yet. WITHDRAWN: the sender has
 * taken the place of the handler, so no code of the user runs.
 */
export type InboxOutcome = 'HANDLED' | 'RETRYING' | 'PARKED' | 'WITHDRAWN';

/**
 * Stores deliveries that were not handled: RETRYING for the retry loop, PARKED for an operator. A stored delivery no
 * longer needs the broker. Concurrent instances compete for the primary key, and the first insert decides. If the
 * process dies after the insert and before the ack, the redelivery finds the row.
 */
@Injectable()
export class StoredDeliveries {
  private notifyDue: () => void = () => {};
  /** The deliveries whose rows this process has written or met lately. */
  private readonly recent = new RecentIds();

  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {}

  /** Sets the callback for a stored delivery that is due at once. */
  onDue(listener: () => void): void {
    this.notifyDue = listener;
  }

  /** Stores a failed delivery: due again after a wait, or parked after the last attempt. */
  async storeFailure(incoming: Incoming, endpoint: Endpoint, error: unknown): Promise<InboxOutcome> {
    const { attemptsMax, backoff } = this.options.inbox;
    // A lock wait is not a handler failure, so it does not count as an attempt.
    const attempts = isBusy(error) ? 0 : 1;
    if (attempts >= attemptsMax)
      return this.park(incoming, endpoint, textOf(error) + heldKeyNote(endpoint.contract, () => payloadIn(incoming)));
    const next_attempt_at = new SqlExpression(inFuture(backoffMs(backoff, 1)));
    return this.store(incoming, endpoint, { attempts, next_attempt_at, last_error: textOf(error).slice(0, 1_000) });
  }

  /**
   * Stores a redelivery, which may have killed its process, in its own commit before anything else. From then on each
   * lease that expires counts as an attempt. Otherwise only surviving processes would count attempts, and such a message
   * would kill every process without end. The first delivery is not counted, because a lost connection and a paused
   * consumer redeliver as well. The caller has checked type, id and age, which the retry loop does not repeat.
   */
  async storeRedelivery(incoming: Incoming, endpoint: Endpoint): Promise<InboxOutcome> {
    const again = { attempts: 0, next_attempt_at: NOW, last_error: 'redelivered: the first delivery was not acked' };
    const outcome = await failpoint(inboxFailpoints(incoming.info.scheme)?.held, () =>
      this.store(incoming, endpoint, again),
    );
    if (outcome === 'RETRYING') this.notifyDue();
    return outcome;
  }

  /** Inserts the delivery as a RETRYING row. */
  private async store(incoming: Incoming, endpoint: Endpoint, due: Values): Promise<InboxOutcome> {
    const row = { ...rowOf(incoming), state: 'RETRYING', ...due, ...stored(incoming, endpoint) };
    try {
      // The own pool has the sql_mode of the library. Under ORACLE, `body` is not a valid column name.
      const isFirst = await insertFirst(this.database.own, 'dtx_inbox', row);
      if (!isFirst) return this.outcomeOf(incoming.id);
      emit('retried', { scheme: incoming.info.scheme, id: incoming.id, gid: incoming.info.gid });
      return 'RETRYING';
    } catch (error) {
      const why = await whyUnstorable(this.database.own, error, incoming.body);
      if (why === null) throw error;
      return this.parkRow(withoutBody(incoming), endpoint, why);
    }
  }

  /**
   * Writes a row with its body, or without the body if it can never be stored. A delivery that circles forever would
   * take the place of others. If this also fails, the delivery returns to the queue with a growing pause.
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

  /**
   * Marks a delivery with committed business as RETRYING, because its `@BeforeAck` failed. Only that step is due again.
   */
  async retryBeforeAck(incoming: Incoming, endpoint: Endpoint, problem: string): Promise<InboxOutcome> {
    emit('retried', { scheme: incoming.info.scheme, id: incoming.id, gid: incoming.info.gid });
    const { body, reply_to, traceparent } = stored(incoming, undefined);
    try {
      await this.database.own.query(
        `UPDATE dtx_inbox SET state = 'RETRYING', attempts = 1, next_attempt_at = ${inFuture(backoffMs(this.options.inbox.backoff, 1))},
         last_error = ?, body = ?, reply_to = ?, traceparent = ?, before_ack = 1 WHERE id = ? AND state = 'HANDLED'`,
        [problem.slice(0, 1_000), body, reply_to, traceparent, incoming.id],
      );
      return 'RETRYING';
    } catch (error) {
      const why = await whyUnstorable(this.database.own, error, incoming.body);
      if (why === null) throw error;
      const step = `${incoming.info.consumer} in @BeforeAck of ${incoming.type}`;
      return this.parkThere(withoutBody(incoming), endpoint, { step, lastError: `${problem}; ${why}` });
    }
  }

  /** Parks a delivery that can never be handled, with one alert. */
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
   * Parks a delivery whose handler committed a part of its work, and possibly the inbox row. A retry would repeat that
   * part. HANDLED would hide the rest. An operator must decide. A repeated call changes nothing.
   */
  parkInPart(incoming: Incoming, endpoint: Endpoint, error: Error): Promise<InboxOutcome> {
    const step = `${incoming.info.consumer} handling ${incoming.type}`;
    const lastError = `a part of the work may be committed: ${error.message}`;
    return this.orWithoutBody(incoming, (one, why) =>
      this.parkThere(one, endpoint, { step, lastError: why === undefined ? lastError : `${lastError}; ${why}` }),
    );
  }

  /** Parks the delivery with one alert, independent of an existing row. */
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

  /** A copy of this delivery is looked for before its transaction begins. */
  remember(id: string): void {
    this.recent.add(id);
  }

  /**
   * The outcome of a delivery that this process has met lately, if its row is there. A consumer that is behind gets many
   * copies, because senders repeat a message without a receipt. So a copy costs one round trip instead of three, and it ends no
   * shared transaction. The row decides, since a failover of the database may have lost it.
   */
  async outcomeIfRecent(id: string): Promise<InboxOutcome | undefined> {
    // guard: inbox.recent
    if (!this.recent.has(id)) return undefined;
    // guard: inbox.recent-row
    return this.outcomeIfThere(id);
  }

  /** The outcome of a delivery. HANDLED if it has no row. */
  async outcomeOf(id: string): Promise<InboxOutcome> {
    this.remember(id);
    return (await this.outcomeIfThere(id)) ?? 'HANDLED';
  }

  private async outcomeIfThere(id: string): Promise<InboxOutcome | undefined> {
    const rows = await this.database.work.query('SELECT state, outcome FROM dtx_inbox WHERE id = ?', [id]);
    if (!rows[0]) return undefined;
    const { state, outcome } = rows[0];
    // guard: inbox.withdrawn
    if (outcome === WITHDRAWN) return 'WITHDRAWN';
    return state === 'RETRYING' || state === 'PARKED' ? state : 'HANDLED';
  }
}

/** The columns of every inbox row. */
export function rowOf({ id, info, type }: Incoming): Values {
  const { messageId: message_id, consumer, gid, scheme } = info;
  return { id, message_id, consumer, gid, scheme, type, created_at: NOW };
}

/** The columns that a retry from the row needs. */
function stored({ body, replyTo: reply_to, info: { traceparent } }: Incoming, endpoint: Endpoint | undefined) {
  return { body, reply_to, traceparent, before_ack: endpoint?.beforeAck ? 1 : 0 };
}

/** The message was read before, so its body is JSON. */
const payloadIn = ({ body }: Incoming): unknown => JSON.parse(body.toString('utf8'));

function withoutBody(incoming: Incoming): Incoming {
  return { ...incoming, body: Buffer.alloc(0) };
}
