import { BrokerUnavailable } from '../core/errors/errors.js';

/** One that has been inside for so long says that the broker is silent, and not that it is busy. */
const SILENT_MS = 500;

/**
 * Who may publish inside a transaction. Each holds a connection of the database while it waits for the broker, so only few
 * wait at once: the rest of the pool stays with those who need no broker. One more waits while the broker answers, and is
 * refused as soon as it does not.
 */
export class PublishGate {
  /** When each has come in, the first of them first. */
  private readonly inside = new Map<object, number>();
  private readonly waiting = new Set<() => void>();

  constructor(private readonly placesMax: number) {}

  /**
   * Resolves with what gives the place back.
   * @throws BrokerUnavailable when there is none before the end, or the broker is silent: nothing was sent
   */
  async enter(endsAt: number): Promise<() => void> {
    for (;;) {
      const now = performance.now();
      if (this.inside.size < this.placesMax) {
        const me = {};
        this.inside.set(me, now);
        return () => this.leave(me);
      }
      const [oldest = now] = this.inside.values();
      const waitMs = Math.min(oldest + SILENT_MS, endsAt) - now;
      if (waitMs <= 0)
        throw new BrokerUnavailable(`${this.placesMax} publishes inside transactions wait for RabbitMQ: not sent`);
      await this.untilOneLeaves(waitMs);
    }
  }

  private leave(me: object): void {
    this.inside.delete(me);
    const [next] = this.waiting;
    next?.();
  }

  private async untilOneLeaves(limitMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const go = () => {
        clearTimeout(timer);
        this.waiting.delete(go);
        resolve();
      };
      const timer = setTimeout(go, Math.ceil(limitMs));
      this.waiting.add(go);
    });
  }
}
