import type { QueueConsumer } from './queue-consumer.js';

export type { Delivery } from './consumer-options.js';

/** The consumers of one queue in the code. On the wire, it may be a quorum queue beside its classic predecessor. */
export class ConsumedQueue {
  /** @param main consumes the queue that gets the messages of this process */
  constructor(
    private readonly main: QueueConsumer,
    private readonly others: readonly QueueConsumer[],
  ) {}

  /** Whether the broker delivers from the queue that gets the messages of this process. */
  get isAttached(): boolean {
    return this.main.isAttached;
  }

  /** Takes no more deliveries, and waits up to `drainMs` for those in work. The broker redelivers the rest. */
  async stop(drainMs: number): Promise<void> {
    await Promise.all([this.main, ...this.others].map((consumer) => consumer.stop(drainMs)));
  }
}
