// Step 2 of 5 - record: the service inserts each event once, under its own id, acks it and calls the target at once.
// If the process dies before the ack, the broker redelivers the event and the row makes it a duplicate.
import { createHash, randomUUID } from 'node:crypto';
import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { retryWhileUnavailable } from '../core/async/retry-while-unavailable.js';
import { Broker } from '../core/broker/broker.service.js';
import type { ConsumedQueue, Delivery } from '../core/broker/consumed-queue.js';
import { fromProperties } from '../core/broker/envelope.js';
import { NOW } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import { insertFirst, type Values } from '../core/database/insert-first.js';
import { SqlExpression } from '../core/database/sql-literals.js';
import { whyUnstorable } from '../core/database/unstorable-body.js';
import { Alerts } from '../core/durable/alerts.js';
import { inFuture } from '../core/durable/claim-and-reschedule.js';
import { HOLD_MS } from '../core/durable/concurrency-key-shares.js';
import { parkedColumns } from '../core/durable/settle-or-park.js';
import { failpoint } from '../core/failpoint.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { measure } from '../core/telemetry-events.js';
import { Deliveries } from './delivery.js';
import { failpoints, SCHEME } from './failpoints.js';
import { NotificationBatches } from './notification-batches.js';
import { NOTIFY_QUEUE_KIND, notificationBody, notifyQueueOf } from './notification-message.js';
import { DEFAULT_TARGET_HOST, NO_TARGET, type NotificationRow, notifyMigrations } from './notification-table.js';
import { leaseMsOf, NOTIFY_OPTIONS, type NotifyOptions } from './options.js';

/** A message as a row, or the reason why it is invalid. */
type ReadMessage = { ok: true; row: NotificationRow } | { ok: false; id: string; gid: string | null; problem: string };

const HOST_CHARS_MAX = 255;
const TEXT_STORED_MAX = 1_000_000;

/** Consumes the queue of events and inserts each into `dtx_notification`. The event's id is the primary key. */
@Injectable()
export class NotificationRecorder implements OnModuleInit, OnModuleDestroy {
  /** Fencing token of the rows that this process inserts under its own lease. */
  private readonly token = randomUUID();
  private consumer: ConsumedQueue | undefined;
  private stopping = false;
  private readonly batches: NotificationBatches;

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly alerts: Alerts,
    private readonly deliveries: Deliveries,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(NOTIFY_OPTIONS) private readonly options: NotifyOptions,
  ) {
    this.batches = new NotificationBatches(database);
  }

  onModuleInit(): void {
    this.database.addMigrations('dtx-notify', notifyMigrations);
    const { prefetch, service } = this.options;
    if (!this.core.consumers) return;
    this.database.onReady(() => {
      if (this.stopping) return;
      this.consumer = this.broker.consume(notifyQueueOf(service), (one) => this.receive(one), {
        prefetch,
        kind: NOTIFY_QUEUE_KIND,
      });
    });
  }

  /** Stops before the deliveries do. Rows recorded last become due when their lease expires. */
  async onModuleDestroy(): Promise<void> {
    this.stopping = true;
    await this.consumer?.stop(this.core.drainMs);
  }

  private async receive(delivery: Delivery): Promise<void> {
    const read = this.read(delivery);
    const { lost } = delivery;
    const write = () => (read.ok ? this.record(read.row) : this.parkUnreadable(read, delivery));
    await retryWhileUnavailable({ lost, reconnect: this.core.reconnect }, write);
    delivery.ack();
  }

  private read({ message }: Delivery): ReadMessage {
    const { gid, traceparent } = fromProperties(message.properties);
    const parsed = notificationBody.safeParse(parseJson(message.content));
    if (!parsed.success) {
      const problem = parsed.error.issues
        .map((issue) => `${issue.path.join('.') || 'body'}: ${issue.message}`)
        .join('; ');
      // The id is a digest of the content, so that a redelivery is a duplicate as well.
      const id = `unreadable.${createHash('sha256').update(message.content).digest('hex').slice(0, 40)}`;
      return { ok: false, id, gid: gid ?? null, problem: `cannot read notification: ${problem}` };
    }
    const { id, gid: ownGid, type, target, payload } = parsed.data;
    const url = target ?? this.options.defaultTarget ?? null;
    const row = {
      // guard: notify.event-id
      id,
      gid: ownGid,
      type,
      target: url,
      target_host: hostOf(url),
      body: JSON.stringify(payload),
      traceparent: traceparent ?? null,
      state: 'PENDING',
      attempts: 0,
      claim_token: this.token,
      fresh: true,
    } as const;
    return { ok: true, row };
  }

  /** Inserts the row, leased to this process if it has room for the call, and otherwise due now for any instance. */
  private async record(row: NotificationRow): Promise<void> {
    const { id, gid, type, target, target_host, body, traceparent, state } = row;
    const event = { id, gid, type, target, target_host, body, traceparent };
    if (target === null) return this.options.withoutTarget === 'drop' ? undefined : this.park(event, NO_TARGET);
    const isNow = this.deliveries.hasRoomFor(row);
    const leaseMs = leaseMsOf(this.core, this.options) + HOLD_MS;
    const lease = isNow
      ? { claim_token: this.token, next_attempt_at: new SqlExpression(inFuture(leaseMs)) }
      : { claim_token: null, next_attempt_at: NOW };
    const values = { ...event, state, ...lease, created_at: NOW };
    const isFirst = (await this.batches.insert(values)) || (await this.insertAlone(row, values));
    if (isFirst === 'parked') return;
    if (!isFirst) return this.compare(row);
    measure('started', { scheme: SCHEME, id, gid });
    if (isNow) await this.deliveries.deliverNow(row);
    else this.deliveries.wake();
  }

  private async insertAlone(row: NotificationRow, values: Values): Promise<boolean | 'parked'> {
    try {
      return await failpoint(failpoints.recorded, () => insertFirst(this.database.own, 'dtx_notification', values));
    } catch (error) {
      const why = await whyUnstorable(this.database.own, error, row.body ?? '');
      if (why === null) throw error;
      return this.parkWithoutBody(row, why);
    }
  }

  /**
   * A duplicate of an event is ignored. Another event under the same id is parked under a new id, because it would be lost
   * as a duplicate.
   */
  private async compare({ id, gid, type, target, target_host, body, traceparent }: NotificationRow): Promise<void> {
    const [known]: Array<Pick<NotificationRow, 'gid' | 'type'>> = await this.database.own.query(
      'SELECT gid, type FROM dtx_notification WHERE id = ?',
      [id],
    );
    if (!known || (known.gid === gid && known.type === type)) return;
    const digest = createHash('sha256').update(JSON.stringify([id, gid, type, target]));
    const problem = `cannot record event ${id} as ${type} of ${gid}: id is taken by ${known.type} of ${known.gid}; use a unique id per event`;
    const own = { id: `renamed.${digest.digest('hex').slice(0, 40)}`, gid };
    await this.park({ ...own, type, target, target_host, body, traceparent }, problem);
  }

  /** Parks an invalid message with its content. */
  private async parkUnreadable(
    { id, gid, problem }: ReadMessage & { ok: false },
    { message }: Delivery,
  ): Promise<void> {
    const body = message.content.toString('utf8').slice(0, TEXT_STORED_MAX);
    const nowhere = { target: null, target_host: '-', traceparent: null };
    await this.park({ id, gid, type: 'unreadable', body, ...nowhere }, problem);
  }

  /** Inserts a PARKED row with one alert. A row that cannot be stored with its body is stored without it. */
  private async park(row: ParkedValues, problem: string): Promise<void> {
    try {
      await this.insertParked(row, problem);
    } catch (error) {
      const why = await whyUnstorable(this.database.own, error, row.body ?? '');
      if (why === null) throw error;
      await this.parkWithoutBody(row, `${problem}; ${why}`);
    }
  }

  /** Inserts a PARKED row without body and target, so that a retry cannot call the target without the body. */
  private async parkWithoutBody({ id, gid, type, target }: ParkedValues, problem: string): Promise<'parked'> {
    const bare = { id, gid, type: 'unstorable', target: null, target_host: '-', body: null, traceparent: null };
    await this.insertParked(bare, `${problem}; it was ${type} for ${target ?? 'no target'}`);
    return 'parked';
  }

  private async insertParked(row: ParkedValues, problem: string): Promise<void> {
    const { id, gid } = row;
    const incident = { scheme: SCHEME, id, gid, step: 'recording a notification', lastError: problem };
    const values = { ...row, ...parkedColumns(problem), created_at: NOW };
    const isFirst = await this.database.own.transaction(async (sql) => {
      if (!(await insertFirst(sql, 'dtx_notification', values))) return false;
      await this.alerts.raise(sql, incident);
      return true;
    });
    if (isFirst) this.alerts.announce(incident);
  }
}

type ParkedValues = Pick<NotificationRow, 'id' | 'gid' | 'type' | 'target' | 'target_host' | 'body' | 'traceparent'>;

function hostOf(url: string | null): string {
  if (url === null) return DEFAULT_TARGET_HOST;
  return URL.canParse(url) ? new URL(url).host.slice(0, HOST_CHARS_MAX) : '-';
}

function parseJson(content: Buffer): unknown {
  try {
    return JSON.parse(content.toString('utf8'));
  } catch {
    return undefined;
  }
}
