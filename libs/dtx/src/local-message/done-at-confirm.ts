// Step 2 of 6 for a contract with `receipts: false` - the publisher confirm is the last step, since no receipt follows.
// If the process dies between confirm and mark, another instance's scan publishes a duplicate with the same message id.
import { Batcher } from '../core/async/batcher.js';
import type { ConfirmPublisher } from '../core/broker/confirm-publisher.js';
import type { Envelope } from '../core/broker/envelope.js';
import type { Database } from '../core/database/database.service.js';
import type { Alerts } from '../core/durable/alerts.js';
import { settleFinal } from '../core/durable/settle-or-park.js';
import type { QueueWatch } from '../core/durable/unattended-queues.js';
import { failpoint } from '../core/failpoint.js';
import { emit } from '../core/telemetry-events.js';
import { failpoints, SCHEME } from './failpoints.js';
import type { LocalMessageOptions } from './options.js';
import type { OutboxRoute } from './outbox-route.js';
import { OUTBOX, type OutboxRow } from './outbox-table.js';

/** Publishes rows that have a route, and marks them DONE when the broker has confirmed them. */
export class DoneAtConfirm {
  private readonly marks: Batcher<OutboxRow>;

  constructor(
    private readonly database: Database,
    private readonly publisher: ConfirmPublisher,
    private readonly queueWatch: QueueWatch,
    private readonly alerts: Alerts,
    options: LocalMessageOptions,
  ) {
    this.marks = new Batcher({ delayMs: options.markDelayMs, batchMax: options.markBatchMax }, (rows) =>
      failpoint(failpoints.marked, () => this.markDone(rows)),
    );
  }

  /**
   * Publishes to the exchange of the row, or to the queues of its consumers. Their backlog is watched, since no receipt
   * shows whether a consumer runs.
   * @throws as `ConfirmPublisher.publish`
   */
  async publish(route: OutboxRoute, queues: readonly string[], body: Buffer, envelope: Envelope): Promise<void> {
    if ('exchange' in route) return this.publisher.publish(route, body, envelope);
    const { kind } = route;
    for (const name of queues) await this.queueWatch.use({ name, kind, scheme: SCHEME });
    await Promise.all(queues.map((queue) => this.publisher.publish(queue, body, envelope, { kind })));
  }

  /** Resolves when the row is DONE. If its claim was lost, the row is unchanged. */
  add(row: OutboxRow): Promise<void> {
    return this.marks.add(row);
  }

  async drain(): Promise<void> {
    await this.marks.drain();
  }

  /** Only under the claim that has sent the rows. Closes an alert of a row that was parked before. */
  private async markDone(rows: OutboxRow[]): Promise<void> {
    const { join, close } = this.alerts.closeWith({ scheme: SCHEME, id: 'm.id', when: 'TRUE' });
    const also = { sql: `m.sent_at = COALESCE(m.sent_at, UTC_TIMESTAMP(3)), ${close}`, values: [] };
    for (const token of new Set(rows.map((row) => row.claim_token))) {
      const ids = rows.filter((row) => row.claim_token === token).map((row) => row.id);
      await settleFinal(this.database.own, OUTBOX, {
        ids,
        also,
        join,
        only: { sql: 'm.claim_token = ?', values: [token] },
      });
    }
    for (const { id, made_at_ms: madeAtMs } of rows)
      emit('settled', { scheme: SCHEME, ms: this.database.nowMs() - Number(madeAtMs), id });
  }
}
