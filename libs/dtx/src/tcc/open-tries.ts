import { setTimeout as sleep } from 'node:timers/promises';
import { Nacked } from '../core/broker/publish-outcomes.js';
import { BrokerBlocked } from '../core/broker/queue-declarations.js';
import { isBrokerUnavailable } from '../core/errors/errors.js';

const POLL_MS = 10;
/** Wait before the next attempt, when a connection is up and its queue is not yet: its leader is being elected. */
const AGAIN_MS = 100;

interface OpenTry {
  /** A connection was lost since the last send began, and with it perhaps the call or its answer. */
  isLost: boolean;
  wake: () => void;
}

/**
 * The Try calls of this process without an answer. One whose connection was lost is sent again as soon as there is another
 * connection, until its deadline. Otherwise every transaction in flight is cancelled when a broker node dies, although
 * the other nodes could carry it. A repeat is harmless: the barrier answers it without business.
 * If this process dies, the tries end with it, and the deadline cancels.
 */
export class OpenTries {
  private readonly open = new Map<string, OpenTry>();
  private up: Promise<void> | undefined;

  /** @param isUp whether calls can be sent and answers received */
  constructor(private readonly isUp: () => boolean) {}

  /**
   * Sends a Try, and again after each lost connection, until `end`.
   * @throws what `send` throws, except for a connection that was lost or cannot be had
   */
  async run(id: string, send: () => Promise<void>): Promise<void> {
    const one: OpenTry = { isLost: false, wake: () => {} };
    this.open.set(id, one);
    while (this.open.has(id)) {
      one.isLost = false;
      if (!(await isSent(send))) await sleep(AGAIN_MS);
      else if (!one.isLost && this.open.has(id)) await new Promise<void>((resolve) => (one.wake = resolve));
      await this.untilUp();
    }
  }

  /** A connection was lost. */
  lost(): void {
    for (const one of this.open.values()) {
      one.isLost = true;
      one.wake();
    }
  }

  /** The Try has its answer, or its time is over. */
  end(id: string): void {
    const one = this.open.get(id);
    this.open.delete(id);
    one?.wake();
  }

  /** One wait for all, so that many open tries cost no more than one. */
  private untilUp(): Promise<void> {
    const wait = async () => {
      while (!this.isUp() && this.open.size > 0) await sleep(POLL_MS);
    };
    this.up ??= wait().finally(() => (this.up = undefined));
    return this.up;
  }
}

/** A nack was repeated already, see `NackRetries`. An alarm of the broker lasts longer than a deadline. */
async function isSent(send: () => Promise<void>): Promise<boolean> {
  try {
    await send();
    return true;
  } catch (error) {
    if (!isBrokerUnavailable(error) || error instanceof Nacked || error instanceof BrokerBlocked) throw error;
    return false;
  }
}
