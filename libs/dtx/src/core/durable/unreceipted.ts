import { type Alerts, type Incident, isoTime } from '../alert/alerts.js';
import type { ConfirmPublisher } from '../broker/publisher.js';
import type { QueueKind } from '../broker/topology.js';
import type { Database } from '../database/database.service.js';

export interface Patience {
  /** How long nobody may say anything, from the first send on, before a person is told. In milliseconds. */
  readonly absentMs: number;
  /** A queue with as many messages gets no more. */
  readonly backlogMax: number;
}

/** A message that was sent, and of which its consumers have not said that it is settled. */
export interface Sent extends Pick<Incident, 'scheme' | 'id' | 'gid' | 'step'> {
  readonly sentAt: Date | string | null | undefined;
  /** Of the consumers that have said nothing. */
  readonly queues: readonly string[];
  readonly kind: QueueKind;
}

/**
 * What to do next. `wait`: it is most likely still in its queue, where one more copy helps nobody. `abandoned`: the same,
 * and nobody has consumed from there for too long.
 */
export type Advice = { kind: 'resend' } | { kind: 'wait' | 'abandoned'; why: string };

/** Looks after messages without a receipt: none of them falls silent. */
export class Unreceipted {
  constructor(
    private readonly database: Database,
    private readonly publisher: ConfirmPublisher,
    private readonly alerts: Alerts,
    private readonly patience: Patience,
  ) {}

  /** @throws BrokerUnavailable, QueueRefused */
  async look(sent: Sent): Promise<Advice> {
    const looks = await Promise.all(sent.queues.map((queue) => this.lookAt(queue, sent.kind)));
    const silentMs = this.database.nowMs() - Date.parse(isoTime(sent.sentAt) ?? '');
    const isLong = silentMs > this.patience.absentMs;
    const forSeconds = `${Math.round(silentMs / 1_000)} s after it was sent`;
    const abandoned = looks.filter(({ isAbandoned }) => isAbandoned).map(({ queue }) => queue);
    if (abandoned.length > 0) {
      const why = `nobody consumes ${abandoned.join(', ')}`;
      if (isLong) await this.tell(sent, `${why}, ${forSeconds}`);
      return { kind: isLong ? 'abandoned' : 'wait', why };
    }
    if (looks.some(({ isBacklogged }) => isBacklogged))
      return { kind: 'wait', why: 'not resent: the queue of a consumer is backlogged' };
    if (isLong) await this.tell(sent, `no receipt ${forSeconds}`);
    return { kind: 'resend' };
  }

  private async lookAt(queue: string, kind: QueueKind) {
    const { messageCount, consumerCount } = await this.publisher.inspect(queue, kind);
    const isAbandoned = messageCount > 0 && consumerCount === 0;
    return { queue, isAbandoned, isBacklogged: messageCount >= this.patience.backlogMax };
  }

  /** One alert, however often. Whatever ends the row closes it. */
  private async tell({ scheme, id, gid, step }: Sent, lastError: string): Promise<void> {
    const incident = { scheme, id, gid, step, lastError };
    const isNew = await this.database.own.transaction((sql) => this.alerts.raise(sql, incident));
    if (isNew) this.alerts.announce(incident, 'SILENT');
  }
}
