import { type Backoff, backoffSql } from '../async/backoff.js';
import { Batcher } from '../async/batcher.js';
import type { ConfirmPublisher } from '../broker/confirm-publisher.js';
import { queueOf } from '../broker/contract.js';
import type { QueueKind } from '../broker/topology.js';
import type { Database } from '../database/database.service.js';
import { type Alerts, type Incident, isoTime } from './alerts.js';
import type { DurableRow, DurableTable } from './durable-table.js';
import type { Tried } from './loop.js';

export interface Patience {
  /** Sends of one message before it is parked. */
  readonly attemptsMax: number;
  /** Wait before the next look at a message without its receipts. */
  readonly resend: Backoff;
  /** How long nobody may say anything, from the first send on, before a person is told. In milliseconds. */
  readonly absentMs: number;
  /** A queue with as many messages gets no more. */
  readonly backlogMax: number;
}

/** A message of which not every consumer has said that it is settled. */
export interface Message extends Pick<Incident, 'scheme' | 'id' | 'gid' | 'step'> {
  readonly sentAt: Date | string | null | undefined;
  /** The consumers that have said nothing. */
  readonly awaiting: readonly string[];
  readonly version: number;
  readonly kind: QueueKind;
}

/** `wait`: it is most likely still in its queue, where one more copy helps nobody. `abandoned`: nobody consumes there. */
type Advice = { kind: 'send' } | { kind: 'wait' | 'abandoned'; why: string };

/** What a queue looked like is believed for so long: a backlog of many messages asks the broker once, not once for each. */
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

/** Looks after messages without a receipt: none of them falls silent. */
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
   * Whether a row that a scan claimed must wait or be given up instead of being sent; null when it is to be sent.
   * @throws BrokerUnavailable, QueueRefused
   */
  async beforeSend(row: DurableRow, message: Message): Promise<Tried | null> {
    const { attempts } = row;
    if (attempts >= this.patience.attemptsMax)
      return { kind: 'hopeless', error: `sent ${attempts} times without a receipt from ${message.awaiting.join(',')}` };
    if (row.state !== 'SENT') return null;
    const advice = await this.look(row, message);
    if (advice.kind === 'send') return null;
    if (advice.kind === 'abandoned') return { kind: 'failed', error: advice.why };
    await this.waits.add({ row, why: advice.why });
    return { kind: 'settled' };
  }

  /** No attempt: each is due again after the wait of its attempts. A row whose claim was lost is left as it is. */
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
      const why = `nobody consumes ${abandoned.join(', ')}`;
      if (isLong) await this.tell(row, message, `${why}, ${forSeconds}`);
      return { kind: isLong ? 'abandoned' : 'wait', why };
    }
    if (isLong) await this.tell(row, message, `no receipt ${forSeconds}`);
    if (looks.some(({ isBacklogged }) => isBacklogged))
      return { kind: 'wait', why: 'not resent: the queue of a consumer is backlogged' };
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
   * One alert, however often. Whatever ends the row closes it; so it is raised only while the row is claimed, which is over
   * once its last receipt has come.
   */
  private async tell(row: DurableRow, { scheme, id, gid, step }: Message, lastError: string): Promise<void> {
    await this.alerts.tell({ scheme, id, gid, step, lastError }, 'SILENT', async (sql) => {
      const ours = `SELECT id FROM ${this.table.name} WHERE id = ? AND claim_token = ? FOR UPDATE`;
      const rows: unknown[] = await sql.query(ours, [row.id, row.claim_token]);
      return rows.length > 0;
    });
  }
}
