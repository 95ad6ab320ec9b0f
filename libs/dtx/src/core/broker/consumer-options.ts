import type { ConsumeMessage } from 'amqplib';
import { type Backoff, backoffMs } from '../async/backoff.js';
import type { Pausing } from './pausing.js';
import type { QueueKind } from './queue-kinds.js';

/** One delivery on the channel that brought it. */
export interface Delivery {
  readonly message: ConsumeMessage;
  /** Aborted when the channel closes or the drain time ends. The broker then delivers the message again. */
  readonly lost: AbortSignal;
  ack(): void;
}

export interface ConsumerOptions {
  readonly queue: string;
  readonly prefetch: number;
  readonly kind: QueueKind;
  readonly pausing?: Pausing;
  /** Whether the queue is consumed while it exists, and not declared. Default: false. */
  readonly isOptional?: boolean;
  /** Time limit in milliseconds of each step of attaching. */
  readonly limitMs: number;
}

/** A consumer, as operators see it. */
export interface ConsumerState extends Pick<ConsumerOptions, 'prefetch' | 'kind' | 'isOptional'> {
  /** The name on the wire. */
  readonly queue: string;
  readonly isAttached: boolean;
  /** The number of deliveries in work. */
  readonly busy: number;
  /** The reason why the broker delivers nothing. Undefined while attached. */
  readonly problem: string | undefined;
}

const RETRY: Backoff = { firstMs: 500, factor: 2, capMs: 5_000 };
/**
 * Waits before the next look for an optional queue. RabbitMQ logs an error line for each look that finds none, so they
 * become rare.
 */
const LOOK: Backoff = { firstMs: 5_000, factor: 2, capMs: 600_000 };

/** The wait in milliseconds before the next attempt to attach, after looks that found no queue, or after rejections. */
export function attachWaitMs({ missed, refused }: { missed: number; refused: number }): number {
  return missed > 0 ? backoffMs(LOOK, missed) : backoffMs(RETRY, Math.max(1, refused));
}
