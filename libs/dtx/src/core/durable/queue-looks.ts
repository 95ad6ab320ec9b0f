import type { ConfirmPublisher } from '../broker/confirm-publisher.js';
import { queueOf } from '../broker/message-contract.js';
import type { QueueKind } from '../broker/queue-kinds.js';

/**
 * The time in milliseconds for which an inspected queue is remembered. Many messages of one backlog ask the broker
 * once.
 */
const LOOK_KEPT_MS = 1_000;
const QUEUES_KEPT = 1_000;

/** The queue of a consumer as the broker described it. */
export interface Look {
  readonly consumer: string;
  /** Its name at the broker. */
  readonly queue: string;
  /** Messages that are ready for a consumer. Deliveries without an ack are not among them. */
  readonly messageCount: number;
  /** It has messages and no consumer. */
  readonly isAbandoned: boolean;
}

/** Looks at the queues of consumers, and remembers each look for a moment. */
export class QueueLooks {
  private readonly looks = new Map<string, { readonly atMs: number; readonly look: Promise<Look> }>();

  constructor(private readonly publisher: ConfirmPublisher) {}

  /**
   * Looks at the queue of a consumer for this version of its messages.
   * @throws BrokerUnavailable, QueueRefused
   */
  at(consumer: string, { version, kind }: { readonly version: number; readonly kind: QueueKind }): Promise<Look> {
    const queue = queueOf(consumer, version);
    const known = this.looks.get(queue);
    if (known && performance.now() - known.atMs < LOOK_KEPT_MS) return known.look;
    if (this.looks.size >= QUEUES_KEPT) this.looks.clear();
    const look = this.inspect(consumer, queue, kind);
    this.looks.set(queue, { atMs: performance.now(), look });
    look.catch(() => this.looks.delete(queue));
    return look;
  }

  private async inspect(consumer: string, queue: string, kind: QueueKind): Promise<Look> {
    const { messageCount, consumerCount } = await this.publisher.inspect(queue, kind);
    const isAbandoned = messageCount > 0 && consumerCount === 0;
    return { consumer, queue: this.publisher.nameAtBroker(queue, kind), messageCount, isAbandoned };
  }
}
