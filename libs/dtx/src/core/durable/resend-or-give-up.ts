import { type Backoff, backoffSql } from '../async/backoff.js';
import { Batcher } from '../async/batcher.js';
import type { ConfirmPublisher, Nacked } from '../broker/confirm-publisher.js';
import type { QueueKind } from '../broker/queue-kinds.js';
import type { Database } from '../database/database.service.js';
import { type Alerts, type Incident, isoTime } from './alerts.js';
import { ConsumerProgress } from './consumer-progress.js';
import type { Tried } from './durable-loop.js';
import type { DurableRow, DurableTable } from './durable-table.js';
import { type Backlog, postponeBacklog } from './postponed-backlog.js';
import { type Look, QueueLooks } from './queue-looks.js';

export interface Patience {
  /** Sends of one message before it is parked. */
  readonly attemptsMax: number;
  /** Wait before the next check of a message without all receipts. */
  readonly resend: Backoff;
  /**
   * Time in milliseconds without any receipt after the first send, before an alert is raised. Also the longest time for
   * which a message behind others in its queue is not sent again.
   */
  readonly absentMs: number;
  /** A queue with this number of messages gets no more. */
  readonly backlogMax: number;
}

/** A message without the receipts of all its consumers. */
export interface Message extends Pick<Incident, 'scheme' | 'id' | 'gid' | 'step'> {
  readonly sentAt: Date | string | null | undefined;
  /** The consumers without a receipt. */
  readonly awaiting: readonly string[];
  readonly version: number;
  readonly kind: QueueKind;
}

/**
 * `wait`: the message is most likely still in its queue, so another send is useless. `abandoned`: the queue has
 * messages and no consumer.
 */
type Advice = { kind: 'send' } | { kind: 'abandoned'; why: string } | WaitAdvice;

interface WaitAdvice {
  readonly kind: 'wait';
  readonly why: string;
  readonly wait: Backoff;
  /** The advice holds for messages whose first send is not older than this time in milliseconds. For all without it. */
  readonly sentWithinMs?: number;
}

/** Backlogged queues whose last alert is remembered. */
const QUEUES_KEPT = 1_000;
const WAIT_BATCH = { delayMs: 5, batchMax: 200 };
/** A message waits at least this time for each message in its queue, so the waits of a large backlog stay few. */
const WAIT_PER_MESSAGE_MS = 1;
const BEHIND_OTHERS = 'not resent yet: its queue holds messages, and no later message has a receipt';

interface Behind {
  readonly wait: Backoff;
  readonly sentWithinMs: number;
  /** Time in milliseconds since the first send. */
  readonly silentMs: number;
}

interface Wait {
  readonly row: DurableRow;
  readonly advice: WaitAdvice;
}
const keyOf = ({ row, advice }: Wait) => `${row.claim_token} ${advice.wait.firstMs} ${advice.why}`;

/**
 * Decides about messages without a receipt: resend, wait, raise an alert, or give up. The row of the message is the
 * durable state. If the process dies, the next scan decides again.
 */
export class Unreceipted {
  private readonly looks: QueueLooks;
  private readonly progress = new ConsumerProgress();
  private readonly waits: Batcher<Wait>;
  /** The time of the last alert for a message of a backlogged queue, by the monotonic process clock. */
  private readonly told = new Map<string, number>();
  /** Backlogs that this process is postponing. */
  private readonly postponing = new Map<string, Promise<unknown>>();

  constructor(
    private readonly table: DurableTable,
    private readonly database: Database,
    publisher: ConfirmPublisher,
    private readonly alerts: Alerts,
    private readonly patience: Patience,
  ) {
    this.looks = new QueueLooks(publisher);
    this.waits = new Batcher(WAIT_BATCH, (waits) => this.putOff(waits));
  }

  /** Takes receipts, as the consumer of each message id. They show which messages of a queue are still unhandled. */
  receipted(receipts: ReadonlyMap<string, string>): void {
    this.progress.receipted(receipts);
  }

  /**
   * Returns the result of the attempt for a claimed row that must wait or be given up, and null for a row to send.
   * @throws BrokerUnavailable, QueueRefused
   */
  async beforeSend(row: DurableRow, message: Message): Promise<Tried | null> {
    const { attempts } = row;
    if (attempts >= this.patience.attemptsMax)
      return { kind: 'fatal', error: `sent ${attempts} times without a receipt from ${message.awaiting.join(',')}` };
    if (row.state !== 'SENT') return null;
    const advice = await this.look(row, message);
    if (advice.kind === 'send') return null;
    if (advice.kind === 'abandoned') return { kind: 'failed', error: advice.why };
    await Promise.all([this.waits.add({ row, advice }), this.postponeOthers(row, message, advice)]);
    return { kind: 'settled' };
  }

  /** Whether a queue of the message has messages and no consumer. @throws BrokerUnavailable, QueueRefused */
  async isAbandoned(message: Pick<Message, 'awaiting' | 'version' | 'kind'>): Promise<boolean> {
    const looks = await Promise.all(message.awaiting.map((consumer) => this.looks.at(consumer, message)));
    return looks.some(({ isAbandoned }) => isAbandoned);
  }

  /**
   * Returns the result of the attempt after the broker rejected the message with a nack. A queue may be full for a while,
   * and a queue with a length limit and no consumer is full for ever. So a nack counts once the message is older than
   * `absentMs`.
   * @param madeAtMs time of the message, in milliseconds since the epoch by the database clock
   */
  afterNack(error: Nacked, madeAtMs: number): Tried {
    const isLong = this.database.nowMs() - madeAtMs > this.patience.absentMs;
    return isLong ? { kind: 'failed', error: error.message } : { kind: 'unreachable' };
  }

  /**
   * Postpones rows without counting an attempt. Each is due again after the wait of its attempts. A row with a lost
   * claim is unchanged.
   */
  private async putOff(waits: readonly Wait[]): Promise<void> {
    for (const key of new Set(waits.map(keyOf))) {
      const group = waits.filter((one) => keyOf(one) === key);
      const { row, advice } = group[0]!;
      await this.database.own.query(
        `UPDATE ${this.table.name} SET next_attempt_at = ${backoffSql(advice.wait, 'attempts')}, claim_token = NULL,
         last_error = ? WHERE id IN (?) AND claim_token = ?`,
        [advice.why, group.map((one) => one.row.id).sort(), row.claim_token],
      );
    }
  }

  /**
   * Postpones the due rows of the same queue with the row that was looked at. The row keeps its place meanwhile, so the
   * loop claims few others of them.
   */
  private postponeOthers(row: DurableRow, { version }: Message, advice: WaitAdvice): Promise<unknown> {
    const columns = row as DurableRow<Record<string, unknown>>;
    const awaiting = (columns.awaiting ?? null) as string | null;
    const backlog: Backlog = { key: String(columns[this.table.concurrencyKey!]), version, awaiting, ...advice };
    const name = `${backlog.key} ${version} ${awaiting}`;
    let postponing = this.postponing.get(name);
    if (!postponing) {
      postponing = postponeBacklog(this.database.own, this.table, backlog, advice);
      const end = () => this.postponing.delete(name);
      postponing.then(end, end);
      this.postponing.set(name, postponing);
    }
    return postponing;
  }

  private async look(row: DurableRow, message: Message): Promise<Advice> {
    const looks = await Promise.all(message.awaiting.map((consumer) => this.looks.at(consumer, message)));
    const silentMs = this.database.nowMs() - Date.parse(isoTime(message.sentAt) ?? '');
    const isLong = silentMs > this.patience.absentMs;
    const forSeconds = `${Math.round(silentMs / 1_000)} s after it was sent`;
    const abandoned = looks.filter(({ isAbandoned }) => isAbandoned).map(({ queue }) => queue);
    if (abandoned.length > 0) {
      const why = `no consumer on queue ${abandoned.join(', ')}`;
      if (isLong) await this.tell(row, message, `${why}, ${forSeconds}`);
      const wait = this.patience.resend;
      return isLong ? { kind: 'abandoned', why } : { kind: 'wait', why, wait, sentWithinMs: this.patience.absentMs };
    }
    const backlogged = looks.find(({ messageCount }) => messageCount >= this.patience.backlogMax);
    if (isLong && !(backlogged && this.isTold(backlogged.queue)))
      await this.tell(row, message, `no receipt ${forSeconds}`);
    const wait = this.waitFor(Math.max(...looks.map(({ messageCount }) => messageCount)));
    if (backlogged) {
      const why = `not resent: a consumer queue holds ${this.patience.backlogMax} or more messages (backlogMax)`;
      return { kind: 'wait', why, wait };
    }
    const sentWithinMs = this.behindMs(looks);
    // guard: resend.behind
    if (silentMs < sentWithinMs) return this.waitBehind({ wait, sentWithinMs, silentMs });
    return { kind: 'send' };
  }

  /**
   * Messages sent within this time in milliseconds most likely still wait in all of these queues. A queue is first in, first
   * out. This one is not empty, and the newest message with a receipt from its consumer was made before that time. A
   * copy would only make it longer. Other senders may keep the queue of a lost message from ever being empty, so the
   * time is at most `absentMs`. It is 0 if a queue is empty or its consumer is unknown.
   */
  private behindMs(looks: readonly Look[]): number {
    const comeTo = looks.map(({ consumer, messageCount }) =>
      messageCount > 0 ? this.progress.madeAtMs(consumer) : undefined,
    );
    if (!comeTo.every((madeAtMs) => madeAtMs !== undefined)) return 0;
    return Math.min(this.patience.absentMs, this.database.nowMs() - Math.max(...comeTo));
  }

  /** The message is due again no later than about `absentMs` after its first send. */
  private waitBehind({ wait, sentWithinMs, silentMs }: Behind): WaitAdvice {
    const capMs = Math.min(wait.capMs, this.patience.absentMs - silentMs);
    return { kind: 'wait', why: BEHIND_OTHERS, wait: { ...wait, capMs }, sentWithinMs };
  }

  /** Whether a message of this backlogged queue has had an alert within `absentMs`. It speaks for the others. */
  private isTold(queue: string): boolean {
    const told = this.told.get(queue);
    if (told !== undefined && performance.now() - told < this.patience.absentMs) return true;
    if (this.told.size >= QUEUES_KEPT) this.told.clear();
    this.told.set(queue, performance.now());
    return false;
  }

  /** The wait for a queue with this number of messages. Beyond that of a resend it is at most `absentMs`. */
  private waitFor(messageCount: number): Backoff {
    const { resend, absentMs } = this.patience;
    const firstMs = Math.max(resend.firstMs, Math.min(absentMs, messageCount * WAIT_PER_MESSAGE_MS));
    return { ...resend, firstMs, capMs: Math.max(resend.capMs, firstMs) };
  }

  /**
   * Raises one alert per message. The receipt or the operator that ends the row closes the alert. So the alert is
   * raised only while the row is claimed by this process, which a last receipt ends.
   */
  private async tell(row: DurableRow, { scheme, id, gid, step }: Message, lastError: string): Promise<void> {
    await this.alerts.tell({ scheme, id, gid, step, lastError }, 'SILENT', async (sql) => {
      const ours = `SELECT id FROM ${this.table.name} WHERE id = ? AND claim_token = ? FOR UPDATE`;
      const rows: unknown[] = await sql.query(ours, [row.id, row.claim_token]);
      return rows.length > 0;
    });
  }
}
