// Step 2 of 6 for a contract with `receipts: false` - the publisher confirm is the last step, since no receipt follows.
// If the process dies between confirm and mark, another instance's scan publishes a duplicate with the same message id.
import { Batcher } from '../core/async/batcher.js';
import type { ConfirmPublisher } from '../core/broker/confirm-publisher.js';
import type { Envelope } from '../core/broker/envelope.js';
import type { Database } from '../core/database/database.service.js';
import { together } from '../core/database/insert-first.js';
import type { Alerts } from '../core/durable/alerts.js';
import { finalMarkOf } from '../core/durable/settle-or-park.js';
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

  /** Resolves when the row is DONE. A row that has ended already is unchanged. */
  add(row: OutboxRow): Promise<void> {
    return this.marks.add(row);
  }

  async drain(): Promise<void> {
    await this.marks.drain();
  }

  /**
   * Whatever process holds the claim, since a confirm proves that the message has arrived. Under the claim alone, a broker
   * that confirms more slowly than leases expire would get the message without end. Closes an alert of a row that was
   * parked meanwhile. Only rows that were open count as settled.
   */
  private async markDone(rows: OutboxRow[]): Promise<void> {
    const ids = [...new Set(rows.map(({ id }) => id))].sort();
    const { join, close } = this.alerts.closeWith({ scheme: SCHEME, id: 'm.id', when: 'TRUE' });
    const also = { sql: `m.sent_at = COALESCE(m.sent_at, UTC_TIMESTAMP(3)), ${close}`, values: [] };
    const only = { sql: 'm.state IN (?)', values: [[...OUTBOX.openStates]] };
    const mark = finalMarkOf(OUTBOX, { ids, also, join, only });
    const open = {
      statement: `SELECT m.id FROM ${OUTBOX.name} m WHERE m.id IN (?) AND ${only.sql}`,
      values: [ids, ...only.values],
    };
    const { statement, values } = together([open, mark]);
    const [settled] = await this.database.own.query<[Array<{ id: string }>]>(statement, values);
    const madeAtMs = new Map(rows.map((row) => [row.id, Number(row.made_at_ms)]));
    for (const { id } of settled)
      emit('settled', { scheme: SCHEME, ms: this.database.nowMs() - madeAtMs.get(id)!, id });
  }
}
