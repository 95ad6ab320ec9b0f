import { defineFailpoint, type Failpoint } from '../failpoint.js';

/** The places where a receiver may die, named by the scheme whose message it handles. */
export interface InboxFailpoints {
  readonly inserted: Failpoint;
  readonly handled: Failpoint;
  readonly held: Failpoint;
  readonly parked: Failpoint;
  /** Only where receivers send receipts. */
  readonly receipted: Failpoint | undefined;
}

const byScheme = new Map<string, InboxFailpoints>();

/** Declares a scheme's receiver failpoints; `steps` are the numbers that the scheme's protocol gives to handling and receipt. */
export function defineInboxFailpoints(scheme: string, steps: { handle: number; receipt?: number }): InboxFailpoints {
  const point = (name: string, step: number, disk: string, finisher: string) =>
    defineFailpoint({ name: `${scheme}.${name}`, scheme, step, role: 'receiver', disk, finisher });
  const points: InboxFailpoints = {
    inserted: point(
      'inserted',
      steps.handle,
      'The receiver has inserted its inbox row but not committed: nothing of the message is on its disk.',
      'The broker delivers again to any instance of the receiver.',
    ),
    handled: point(
      'handled',
      steps.handle,
      'Inbox row, business and next message are committed at the receiver; the delivery is not acked, no receipt is sent.',
      'The broker delivers again; the inbox row makes it a duplicate, which is receipted and acked; the scan sends the next message.',
    ),
    held: point(
      'held',
      steps.handle,
      'The handler failed; the delivery is stored as RETRYING at the receiver and not acked.',
      'The broker delivers again, which is a duplicate; the loop over the stored row retries the handler.',
    ),
    parked: point(
      'parked',
      steps.handle,
      'The delivery cannot be handled; it is stored as PARKED with its one alert and not acked.',
      'The broker delivers again, which is a duplicate and is receipted as PARKED; a person retries or settles the row.',
    ),
    receipted:
      steps.receipt === undefined
        ? undefined
        : point(
            'receipted',
            steps.receipt,
            'The receipt is in the sender’s receipt queue; the delivery is not acked.',
            'The broker delivers again; the duplicate is receipted once more and acked.',
          ),
  };
  byScheme.set(scheme, points);
  return points;
}

/** The places where a receiver may die that knows duplicates by Redis, named by the scheme whose message it handles. */
export interface RedisFailpoints {
  readonly claimed: Failpoint;
  readonly worked: Failpoint;
  readonly done: Failpoint;
}

const redisByScheme = new Map<string, RedisFailpoints>();

/** Declares them; `step` is the number that the scheme's protocol gives to handling. */
export function defineRedisFailpoints(scheme: string, step: number): RedisFailpoints {
  const point = (name: string, disk: string, finisher: string) =>
    defineFailpoint({ name: `${scheme}.${name}`, scheme, step, role: 'receiver', disk, finisher });
  const points: RedisFailpoints = {
    claimed: point(
      'claimed',
      'The receiver has claimed the message in Redis, with a lease; its work has not begun.',
      'The broker delivers again to any instance of the receiver, which waits until the lease has ended and works.',
    ),
    worked: point(
      'worked',
      'The work is committed at the receiver; Redis still says processing, and the delivery is not acked.',
      'The broker delivers again; once the lease has ended the work is done a second time, which it must bear.',
    ),
    done: point(
      'done',
      'The work is committed and Redis says done; the delivery is not acked.',
      'The broker delivers again; the next receiver finds it done and acks.',
    ),
  };
  redisByScheme.set(scheme, points);
  return points;
}

export function redisFailpoints(scheme: string): RedisFailpoints | undefined {
  return redisByScheme.get(scheme);
}

/** The points of a scheme; undefined for a message of a scheme that is not loaded here. */
export function inboxFailpoints(scheme: string): InboxFailpoints | undefined {
  return byScheme.get(scheme);
}
