import { randomUUID } from 'node:crypto';
import type { QueueProbe } from './queue-probe.js';
import { until } from './until.js';
import { sql, type World } from './world.js';

export const NOTIFY_QUEUE = 'dtx.payment.notify.v1';

export interface Told {
  readonly id: string;
  readonly state: string;
  readonly attempts: number;
  readonly last_error: string | null;
}

/** Puts notifications into the service's queue, as a publisher does. */
export class NotifyQueue {
  constructor(
    private readonly world: World,
    private readonly probe: QueueProbe,
  ) {}

  /** Publishes one event for a target; gives its id. */
  async tell(target: string, { id = `event.${randomUUID()}` }: { id?: string } = {}): Promise<string> {
    const payload = { type: 'payment.captured', timestamp: new Date().toISOString(), data: { event: id } };
    const body = { id, gid: id, type: 'payment.captured', target, payload };
    await this.probe.publish(NOTIFY_QUEUE, JSON.stringify(body), {
      messageId: id,
      type: 'dtx.notification.v1',
      correlationId: id,
      headers: { 'dtx-scheme': 'notify' },
    });
    return id;
  }

  async row(id: string): Promise<Told | undefined> {
    const query = 'SELECT id, state, attempts, last_error FROM dtx_notification WHERE id = ?';
    return (await sql<Told>(this.world, 'payment', query, [id]))[0];
  }

  /** Waits until an event is in a state, and gives its row. */
  untilState(id: string, state: 'DELIVERED' | 'PARKED', withinMs = 30_000): Promise<Told> {
    const look = async () => {
      const row = await this.row(id);
      return row?.state === state && row;
    };
    return until(`${id} is ${state}`, look, { withinMs });
  }
}
