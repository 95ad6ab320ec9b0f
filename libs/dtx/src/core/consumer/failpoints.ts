import { defineFailpoint, type Failpoint } from '../failpoint.js';

/** The failpoints of a receiver with an inbox row, named by the scheme of the handled message. */
export interface InboxFailpoints {
  readonly inserted: Failpoint;
  readonly handled: Failpoint;
  readonly held: Failpoint;
  readonly parked: Failpoint;
  /** Undefined for schemes without receipts. */
  readonly receipted: Failpoint | undefined;
}

const byScheme = new Map<string, InboxFailpoints>();

/**
 * Declares the receiver failpoints of a scheme. `steps` are the step numbers of handling and receipt in the protocol of
 * the scheme.
 */
export function defineInboxFailpoints(scheme: string, steps: { handle: number; receipt?: number }): InboxFailpoints {
  const point = (name: string, step: number, disk: string, finisher: string) =>
    defineFailpoint({ name: `${scheme}.${name}`, scheme, step, role: 'receiver', disk, finisher });
  const points: InboxFailpoints = {
    inserted: point(
      'inserted',
      steps.handle,
      'The inbox row is inserted and not committed. The receiver has stored nothing of the message.',
      'The broker redelivers the message to any instance of the receiver.',
    ),
    handled: point(
      'handled',
      steps.handle,
      'The inbox row, the business rows and any next message are committed. The receipt is not sent and the delivery is not acked.',
      'The broker redelivers. The inbox row identifies the duplicate, which is receipted and acked. The scan sends any next message.',
    ),
    held: point(
      'held',
      steps.handle,
      'The handler failed. The delivery is stored as RETRYING and not acked.',
      'The broker redelivers a duplicate, which is acked. The retry loop of the inbox runs the handler from the stored row.',
    ),
    parked: point(
      'parked',
      steps.handle,
      'The delivery cannot be handled. It is stored as PARKED with one alert and not acked.',
      'The broker redelivers a duplicate, which is receipted as PARKED and acked. An operator retries or resolves the row.',
    ),
    receipted:
      steps.receipt === undefined
        ? undefined
        : point(
            'receipted',
            steps.receipt,
            'The receipt is in the receipt queue of the sender. The delivery is not acked.',
            'The broker redelivers. The duplicate is receipted again and acked.',
          ),
  };
  byScheme.set(scheme, points);
  return points;
}

/** The failpoints of a receiver that detects duplicates by Redis, named by the scheme of the handled message. */
export interface RedisFailpoints {
  readonly claimed: Failpoint;
  readonly worked: Failpoint;
  readonly done: Failpoint;
}

const redisByScheme = new Map<string, RedisFailpoints>();

/** Declares these failpoints. `step` is the step number of handling in the protocol of the scheme. */
export function defineRedisFailpoints(scheme: string, step: number): RedisFailpoints {
  const point = (name: string, disk: string, finisher: string) =>
    defineFailpoint({ name: `${scheme}.${name}`, scheme, step, role: 'receiver', disk, finisher });
  const points: RedisFailpoints = {
    claimed: point(
      'claimed',
      'The message is claimed in Redis with a lease. The work has not begun.',
      'The broker redelivers to any instance of the receiver. It waits until the lease expires and handles the message.',
    ),
    worked: point(
      'worked',
      'The work is committed. Redis still holds the claim, and the delivery is not acked.',
      'The broker redelivers. When the lease expires, the work runs a second time, so it must be idempotent.',
    ),
    done: point(
      'done',
      'The work is committed and marked as done in Redis. The delivery is not acked.',
      'The broker redelivers. The next receiver finds the done mark and acks.',
    ),
  };
  redisByScheme.set(scheme, points);
  return points;
}

export function redisFailpoints(scheme: string): RedisFailpoints | undefined {
  return redisByScheme.get(scheme);
}

/** The failpoints of a scheme. Undefined for a message of a scheme that is not loaded. */
export function inboxFailpoints(scheme: string): InboxFailpoints | undefined {
  return byScheme.get(scheme);
}
