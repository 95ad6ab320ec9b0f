/**
 * A quorum queue whose leader has died elects another one within a second or two. Meanwhile RabbitMQ 3.10 nacks the first
 * publish of a channel to that queue, and every later publish on that channel too: the channel has taken the dead node for
 * the leader and does not look again. So a nack calls for a new channel, and for a second attempt a moment later.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConfirmChannel } from 'amqplib';
import { withTimeout } from '../async/with-timeout.js';
import { leave } from './closing-channel.js';
import { Nacked } from './publish-outcomes.js';

const RETRY_MS = 200;
/** Longer than an election. */
const ELECTION_MS = 3_000;

/** Sends nacked messages again while their queue may elect a leader. A queue that is full is left alone after that time. */
export class NackRetries {
  /** When a queue began to nack, until it confirms. */
  private readonly since = new Map<string, number>();
  /** Time in milliseconds since the first nack of a queue during which its messages are sent again. */
  private readonly forMs: number;

  /** @param leaseMs of a row that is being sent. Its retries end before another instance takes the row. */
  constructor(leaseMs: number) {
    this.forMs = Math.min(ELECTION_MS, leaseMs / 2);
  }

  /**
   * Runs `send` again after a nack.
   * @param endsAt by `performance.now()`. No attempt begins after it.
   * @throws Nacked if the queue has nacked for longer than an election takes
   */
  run(queue: string, endsAt: number, send: () => Promise<void>): Promise<void> {
    return send().then(
      () => void this.since.delete(queue),
      (error) => this.again(queue, endsAt, { error, send }),
    );
  }

  private async again(
    queue: string,
    endsAt: number,
    { error, send }: { error: unknown; send: () => Promise<void> },
  ): Promise<void> {
    // guard: publisher.nacked
    if (!(error instanceof Nacked) || !this.mayRetry(queue, endsAt)) throw error;
    await sleep(RETRY_MS);
    return this.run(queue, endsAt, send);
  }

  private mayRetry(queue: string, endsAt: number): boolean {
    const now = performance.now();
    const since = this.since.get(queue) ?? now;
    this.since.set(queue, since);
    return now + RETRY_MS < Math.min(since + this.forMs, endsAt);
  }
}

/** Closes a channel in the background once no message on it waits for its confirm, and at the latest after `limitMs`. */
export async function leaveOnceConfirmed(channel: ConfirmChannel, limitMs: number): Promise<void> {
  let isOver = false;
  channel.once('close', () => {
    isOver = true;
  });
  const wait = () =>
    channel.waitForConfirms().then(
      () => true,
      () => false, // a nack ends the wait, and other messages still have none
    );
  const confirmed = async () => {
    while (!isOver && !(await wait()));
  };
  await withTimeout(limitMs, confirmed(), () => {
    isOver = true;
  });
  leave(channel);
}
