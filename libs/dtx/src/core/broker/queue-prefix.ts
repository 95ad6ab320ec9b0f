import type { QueueKind } from './queue-kinds.js';

/** The prefix of queue names in the code and in tables. */
const IN_CODE = 'dtx.';

/**
 * The queue names of one app on the wire. Code and tables always have the prefix `dtx`. Only the classes that talk to the
 * broker translate, so no scheme knows the prefix. Both sides of a contract need the same one, because each derives the
 * queues from it. Default: `dtx`, which translates nothing.
 */
export class QueueNames {
  private readonly onWirePrefix: string;

  constructor(prefix = 'dtx') {
    this.onWirePrefix = `${prefix}.`;
  }

  /** The name at the broker. A name that is translated already stays as it is. */
  onWire(queue: string): string {
    return queue.startsWith(IN_CODE) ? this.onWirePrefix + queue.slice(IN_CODE.length) : queue;
  }

  /** The name in the code. A name of another prefix stays as it is. */
  inCode(queue: string): string {
    return queue.startsWith(this.onWirePrefix) ? IN_CODE + queue.slice(this.onWirePrefix.length) : queue;
  }

  /** A received message with the name in the code as its `replyTo`. */
  received<M extends { readonly properties: { replyTo?: unknown } }>(message: M): M {
    const { properties } = message;
    if (typeof properties.replyTo === 'string') properties.replyTo = this.inCode(properties.replyTo);
    return message;
  }

  /** A waiting queue names the queue that gets its expired messages. */
  kindOnWire(kind: QueueKind): QueueKind {
    return typeof kind === 'string' ? kind : { ...kind, expiredTo: this.onWire(kind.expiredTo) };
  }
}
