import { isProcessQueue, QUORUM_SUFFIX, type QueueKind } from './queue-kinds.js';

/** The prefix of queue names in the code and in tables. */
const IN_CODE = 'dtx.';

/**
 * Option `queues`: the type of the queues that several processes share. `quorum`: sends to quorum queues, and also consumes the
 * classic queues that an earlier version left. `classic-to-quorum`: sends to classic queues and consumes both, so that
 * instances of the version before receive everything. `classic`: sends to classic queues, and also consumes quorum
 * queues that exist.
 */
export type SharedQueues = 'quorum' | 'classic-to-quorum' | 'classic';

/** One queue that a consumer takes from. */
export interface Consumed {
  readonly queue: string;
  readonly kind: QueueKind;
  /** True for a queue that is consumed while it exists, and never declared. */
  readonly isOptional: boolean;
}

/**
 * The queue names of one app on the wire. Code and tables always have the prefix `dtx` and no type. Only the classes
 * that talk to the broker translate, so no scheme knows prefix or type. Both sides of a contract need the same prefix, because each
 * derives the queues from it. RabbitMQ refuses to declare a queue as another type, so a quorum queue has another
 * name, with the suffix `.quorum`. Queues that were quorum queues from their beginning have no suffix.
 */
export class QueueNames {
  private readonly onWirePrefix: string;

  constructor(
    prefix = 'dtx',
    private readonly shared: SharedQueues = 'quorum',
  ) {
    this.onWirePrefix = `${prefix}.`;
  }

  /**
   * The name of the queue that gets the messages. A name that is translated already stays as it is. A name that came in a
   * message (`replyTo`) may have another prefix, and its own installation may have chosen classic queues. Such a name is
   * `named` or the queue of one process, which get no suffix. All other kinds get names that this library made.
   */
  onWire(queue: string, kind: QueueKind = 'work'): string {
    const name = queue.startsWith(IN_CODE) ? this.onWirePrefix + queue.slice(IN_CODE.length) : queue;
    return this.shared === 'quorum' && hasTwoTypes(name, kind) ? name + QUORUM_SUFFIX : name;
  }

  /** All queues that a consumer of `queue` takes from. The first one gets the messages of this process. */
  consumed(queue: string, kind: QueueKind): readonly [Consumed, ...Consumed[]] {
    const first = { queue, kind, isOptional: false };
    if (!hasTwoTypes(queue, kind)) return [first];
    const other = this.shared === 'quorum' ? queue : queue + QUORUM_SUFFIX;
    return [first, { queue: other, kind: 'named', isOptional: this.shared !== 'classic-to-quorum' }];
  }

  /** The name in the code, with its suffix. A name of another prefix stays as it is. */
  inCode(queue: string): string {
    return queue.startsWith(this.onWirePrefix) ? IN_CODE + queue.slice(this.onWirePrefix.length) : queue;
  }

  /**
   * A received message with the name in the code as its `replyTo`. The suffix stays, because the answer goes to the
   * queue that the sender has named. Only that one is certain to be consumed.
   */
  received<M extends { readonly properties: { replyTo?: unknown } }>(message: M): M {
    const { properties } = message;
    if (typeof properties.replyTo === 'string') properties.replyTo = this.inCode(properties.replyTo);
    return message;
  }

  /** A waiting queue names the queue that gets its expired messages. */
  kindOnWire(kind: QueueKind): QueueKind {
    return typeof kind === 'string' ? kind : { ...kind, expiredTo: this.onWire(kind.expiredTo, 'replicated') };
  }
}

function hasTwoTypes(queue: string, kind: QueueKind): boolean {
  const isShared = kind === 'work' || kind === 'replicated-if-new';
  return isShared && !queue.endsWith(QUORUM_SUFFIX) && !isProcessQueue(queue);
}
