// Step 2 of 5 - record: the service writes each event down once, under its own id, and acks; then it is called at once.
import { createHash, randomUUID } from 'node:crypto';
import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { persist } from '../core/async/retry-while-unavailable.js';
import { Broker } from '../core/broker/broker.service.js';
import { fromProperties } from '../core/broker/envelope.js';
import type { Delivery, QueueConsumer } from '../core/broker/queue-consumer.js';
import { Database } from '../core/database/database.service.js';
import { insertFirst, NOW, SqlExpression } from '../core/database/insert-first.js';
import { whyUnstorable } from '../core/database/unstorable.js';
import { Alerts } from '../core/durable/alerts.js';
import { inFuture } from '../core/durable/claim.js';
import { parkedColumns } from '../core/durable/settle.js';
import { failpoint } from '../core/failpoint.js';
import type { CoreOptions } from '../core/options.js';
import { measure } from '../core/telemetry.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { Deliveries } from './delivery.js';
import { failpoints, SCHEME } from './failpoints.js';
import { type NotificationRow, notifyMigrations } from './notification-table.js';
import { leaseMsOf, NOTIFY_OPTIONS, type NotifyOptions } from './options.js';
import { NOTIFY_QUEUE_KIND, notificationBody, notifyQueueOf } from './publish.js';

/** A message as a row, or why it is none. */
type Read = { ok: true; row: NotificationRow } | { ok: false; id: string; gid: string | null; problem: string };

const HOST_CHARS_MAX = 255;
const TEXT_STORED_MAX = 1_000_000;

/** Takes events off the queue (seed: 最大努力通知 2). A row under the event's id makes a duplicate of whatever comes again. */
@Injectable()
export class Records implements OnModuleInit, OnModuleDestroy {
  /** Fencing token of the rows that this process inserts already leased to itself. */
  private readonly token = randomUUID();
  private consumer: QueueConsumer | undefined;
  private stopping = false;

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly alerts: Alerts,
    private readonly deliveries: Deliveries,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(NOTIFY_OPTIONS) private readonly options: NotifyOptions,
  ) {}

  onModuleInit(): void {
    this.database.addMigrations('dtx-notify', notifyMigrations);
    const { prefetch, service } = this.options;
    this.database.onReady(() => {
      if (this.stopping) return;
      this.consumer = this.broker.consume(notifyQueueOf(service), (one) => this.receive(one), {
        prefetch,
        kind: NOTIFY_QUEUE_KIND,
      });
    });
  }

  /** Before the deliveries stop: what was recorded last is leased to us and will be due. */
  async onModuleDestroy(): Promise<void> {
    this.stopping = true;
    await this.consumer?.stop(this.core.drainMs);
  }

  private async receive(delivery: Delivery): Promise<void> {
    const read = this.read(delivery);
    const { lost } = delivery;
    const write = () => (read.ok ? this.record(read.row) : this.park(read, delivery));
    await persist({ lost, reconnect: this.core.reconnect }, write);
    // A message that dies with us before this ack is delivered again and changes nothing.
    delivery.ack();
  }

  private read({ message }: Delivery): Read {
    const { gid, traceparent } = fromProperties(message.properties);
    const parsed = notificationBody.safeParse(parseJson(message.content));
    if (!parsed.success) {
      const problem = parsed.error.issues
        .map((issue) => `${issue.path.join('.') || 'body'}: ${issue.message}`)
        .join('; ');
      // An id of its content, so that its redelivery is a duplicate as well.
      const id = `unreadable.${createHash('sha256').update(message.content).digest('hex').slice(0, 40)}`;
      return { ok: false, id, gid: gid ?? null, problem: `no notification: ${problem}` };
    }
    const { id, gid: ownGid, type, target, payload } = parsed.data;
    const url = target ?? this.options.defaultTarget ?? null;
    const row = {
      // guard: notify.event-id
      id,
      gid: ownGid,
      type,
      target: url,
      target_host: url !== null && URL.canParse(url) ? new URL(url).host.slice(0, HOST_CHARS_MAX) : '-',
      body: JSON.stringify(payload),
      traceparent: traceparent ?? null,
      state: 'PENDING',
      attempts: 0,
      claim_token: this.token,
      fresh: true,
    } as const;
    return { ok: true, row };
  }

  /** Leased to this process if it can be called at once, else due now for whoever has room. */
  private async record(row: NotificationRow): Promise<void> {
    // Nobody is to be told: there is no target, neither its own nor the service's.
    if (row.target === null) return;
    const { id, gid, type, target, target_host, body, traceparent, state } = row;
    const isNow = this.deliveries.hasRoomFor(row);
    const lease = isNow
      ? { claim_token: this.token, next_attempt_at: new SqlExpression(inFuture(leaseMsOf(this.core, this.options))) }
      : { claim_token: null, next_attempt_at: NOW };
    const values = { id, gid, type, target, target_host, body, traceparent, state, ...lease, created_at: NOW };
    const isFirst = await failpoint(failpoints.recorded, () =>
      insertFirst(this.database.own, 'dtx_notification', values),
    ).catch(async (error) => {
      const why = await whyUnstorable(this.database.own, error, body ?? '');
      if (why === null) throw error;
      return this.keepWithoutBody(row, why);
    });
    if (isFirst === 'kept') return;
    if (!isFirst) return this.compare(row);
    measure('started', { scheme: SCHEME });
    if (isNow) await this.deliveries.deliverNow(row);
    else this.deliveries.wake();
  }

  /**
   * A repetition of an event is nothing to do. Another event under its id would be lost if it passed for one: it is kept
   * under an id of its own, for a person who may have it delivered.
   */
  private async compare({ id, gid, type, target, target_host, body, traceparent }: NotificationRow): Promise<void> {
    const [known]: Array<Pick<NotificationRow, 'gid' | 'type'>> = await this.database.own.query(
      'SELECT gid, type FROM dtx_notification WHERE id = ?',
      [id],
    );
    if (!known || (known.gid === gid && known.type === type)) return;
    const digest = createHash('sha256').update(JSON.stringify([id, gid, type, target]));
    const problem = `event ${id} is ${known.type} of ${known.gid}, and came as ${type} of ${gid}; give it an id of its own`;
    const own = { id: `renamed.${digest.digest('hex').slice(0, 40)}`, gid };
    await this.keep({ ...own, type, target, target_host, body, traceparent }, problem);
  }

  /** Nobody can make a call of it. */
  private async park({ id, gid, problem }: Read & { ok: false }, { message }: Delivery): Promise<void> {
    const body = message.content.toString('utf8').slice(0, TEXT_STORED_MAX);
    const nowhere = { target: null, target_host: '-', traceparent: null };
    await this.keep({ id, gid, type: 'unreadable', body, ...nowhere }, problem);
  }

  /** PARKED from the start, with one alert. What cannot be written with its body is written without. */
  private async keep(row: Kept, problem: string): Promise<void> {
    try {
      await this.keepRow(row, problem);
    } catch (error) {
      const why = await whyUnstorable(this.database.own, error, row.body ?? '');
      if (why === null) throw error;
      await this.keepWithoutBody(row, `${problem}; ${why}`);
    }
  }

  /** A person sees what it was. Without its body it can be delivered to nobody, so it names no target. */
  private async keepWithoutBody({ id, gid, type, target }: Kept, problem: string): Promise<'kept'> {
    const bare = { id, gid, type: 'unstorable', target: null, target_host: '-', body: null, traceparent: null };
    await this.keepRow(bare, `${problem}; it was ${type} for ${target ?? 'nobody'}`);
    return 'kept';
  }

  private async keepRow(row: Kept, problem: string): Promise<void> {
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

type Kept = Pick<NotificationRow, 'id' | 'gid' | 'type' | 'target' | 'target_host' | 'body' | 'traceparent'>;

function parseJson(content: Buffer): unknown {
  try {
    return JSON.parse(content.toString('utf8'));
  } catch {
    return undefined;
  }
}
