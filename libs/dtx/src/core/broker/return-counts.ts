import type { ConsumeMessage } from 'amqplib';
import { type Backoff, backoffMs } from '../async/backoff.js';

/** Waits before the same message is returned to the queue for the first, second, ... time. */
const WAITS: Backoff = { firstMs: 500, factor: 2, capMs: 30_000 };
/** The number of messages whose returns are counted. */
const COUNTED_MAX = 1_000;

/** The wait in milliseconds before a message is returned for the given time. */
export const returnWaitMs = (times: number): number => backoffMs(WAITS, times);

/** The number of returns of each message to its queue since its last ack, in this process. */
export class ReturnCounts {
  private readonly counts = new Map<string, number>();

  /** Counts one more return. */
  countOf(message: ConsumeMessage): number {
    const name = nameOf(message);
    const times = (this.counts.get(name) ?? 0) + 1;
    this.counts.delete(name);
    if (this.counts.size >= COUNTED_MAX) this.counts.delete(this.counts.keys().next().value!);
    this.counts.set(name, times);
    return times;
  }

  forget(message: ConsumeMessage): void {
    this.counts.delete(nameOf(message));
  }
}

/** A message without an id is identified by its size. */
export function nameOf({ properties, content }: ConsumeMessage): string {
  return String(properties.messageId ?? `${content.length} bytes`).slice(0, 200);
}
