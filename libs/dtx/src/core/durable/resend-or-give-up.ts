import { type Backoff, backoffSql } from '../async/backoff.js';
import { Batcher } from '../async/batcher.js';
import type { ConfirmPublisher, Nacked } from '../broker/confirm-publisher.js';
import { queueOf } from '../broker/message-contract.js';
import type { QueueKind } from '../broker/queue-kinds.js';
import type { Database } from '../database/database.service.js';
import { type Alerts, type Incident, isoTime } from './alerts.js';
import type { Tried } from './durable-loop.js';
import type { DurableRow, DurableTable } from './durable-table.js';

export interface Patience {
  /** Sends of one message before it is parked. */
  readonly attemptsMax: number;
  /** Wait before the next check of a message without all receipts. */
  readonly resend: Backoff;
  /** Time in milliseconds without any receipt after the first send, before an alert is raised. */
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
type Advice = { kind: 'send' } | { kind: 'wait' | 'abandoned'; why: string };

/**
 * The time in milliseconds for which an inspected queue is remembered. Many messages of one backlog ask the broker
 * once.
 */
const LOOK_KEPT_MS = 1_000;
const QUEUES_KEPT = 1_000;
const WAIT_BATCH = { delayMs: 5, batchMax: 200 };

interface Wait {
  readonly row: DurableRow;
  readonly why: string;
}
const keyOf = ({ row, why }: Wait) => `${row.claim_token} ${why}`;

interface Look {
  readonly queue: string;
  readonly isAbandoned: boolean;
  readonly isBacklogged: boolean;
}

/**
 * Decides about messages without a receipt: resend, wait, raise an alert, or give up. The row of the message is the
 * durable state. If the process dies, the next scan decides again.
 */
export class Unreceipted {
  private readonly looks = new Map<string, { readonly atMs: number; readonly look: Promise<Look> }>();
  private readonly waits: Batcher<Wait>;

  constructor(
    private readonly table: DurableTable,
    private readonly database: Database,
    private readonly publisher: ConfirmPublisher,
    private readonly alerts: Alerts,
    private readonly patience: Patience,
  ) {
    this.waits = new Batcher(WAIT_BATCH, (waits) => this.putOff(waits));
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
    await this.waits.add({ row, why: advice.why });
    return { kind: 'settled' };
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
      const { row, why } = group[0]!;
      await this.database.own.query(
        `UPDATE ${this.table.name} SET next_attempt_at = ${backoffSql(this.patience.resend, 'attempts')}, claim_token = NULL,
         last_error = ? WHERE id IN (?) AND claim_token = ?`,
        [why, group.map((one) => one.row.id).sort(), row.claim_token],
      );
    }
  }

  private async look(row: DurableRow, message: Message): Promise<Advice> {
    const queues = message.awaiting.map((consumer) => queueOf(consumer, message.version));
    const looks = await Promise.all(queues.map((queue) => this.lookAt(queue, message.kind)));
    const silentMs = this.database.nowMs() - Date.parse(isoTime(message.sentAt) ?? '');
    const isLong = silentMs > this.patience.absentMs;
    const forSeconds = `${Math.round(silentMs / 1_000)} s after it was sent`;
    const abandoned = looks.filter(({ isAbandoned }) => isAbandoned).map(({ queue }) => queue);
    if (abandoned.length > 0) {
      const why = `no consumer on queue ${abandoned.join(', ')}`;
      if (isLong) await this.tell(row, message, `${why}, ${forSeconds}`);
      return { kind: isLong ? 'abandoned' : 'wait', why };
    }
    if (isLong) await this.tell(row, message, `no receipt ${forSeconds}`);
    if (looks.some(({ isBacklogged }) => isBacklogged))
      return {
        kind: 'wait',
        why: `not resent: a consumer queue holds ${this.patience.backlogMax} or more messages (backlogMax)`,
      };
    return { kind: 'send' };
  }

  private lookAt(queue: string, kind: QueueKind): Promise<Look> {
    const known = this.looks.get(queue);
    if (known && performance.now() - known.atMs < LOOK_KEPT_MS) return known.look;
    if (this.looks.size >= QUEUES_KEPT) this.looks.clear();
    const look = this.lookNow(queue, kind);
    this.looks.set(queue, { atMs: performance.now(), look });
    look.catch(() => this.looks.delete(queue));
    return look;
  }

  private async lookNow(queue: string, kind: QueueKind): Promise<Look> {
    const { messageCount, consumerCount } = await this.publisher.inspect(queue, kind);
    const isAbandoned = messageCount > 0 && consumerCount === 0;
    return { queue, isAbandoned, isBacklogged: messageCount >= this.patience.backlogMax };
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
