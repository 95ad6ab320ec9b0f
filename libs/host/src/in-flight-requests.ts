import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const LOOK_EVERY_MS = 10;
/**
 * Seconds that a caller may keep an unused connection, as announced in `Keep-Alive` (RFC 2068, section 19.7.1.1). The
 * server itself keeps it for longer, so a call and the end of its connection do not meet.
 */
export const ANNOUNCED_IDLE_S = 3;

/** The calls that an app has not answered yet, and the connections on which more may come. */
export class Calls {
  private underWay = 0;
  private ending = false;
  /** Until when a caller may use a connection, by `performance.now()`. */
  private readonly usableUntil = new Map<Socket, number>();

  begun(): void {
    this.underWay++;
  }

  ended(connection: Socket): void {
    this.underWay--;
    if (this.usableUntil.has(connection)) this.expectOn(connection);
  }

  /** A caller has opened the connection. A call may be on its way before the app has read a byte of it. */
  opened(connection: Socket): void {
    this.expectOn(connection);
    connection.once('close', () => this.usableUntil.delete(connection));
  }

  /** True from the stop signal on. Each answer then closes its connection. */
  get areEnding(): boolean {
    return this.ending;
  }

  /** Resolves as soon as no call is in progress and none can be on its way, or after `withinMs` milliseconds. */
  async end(withinMs: number): Promise<void> {
    this.ending = true;
    for (const end = performance.now() + withinMs; this.mayCome() && performance.now() < end; )
      await sleep(LOOK_EVERY_MS);
  }

  private mayCome(): boolean {
    const now = performance.now();
    return this.underWay > 0 || [...this.usableUntil.values()].some((until) => until > now);
  }

  private expectOn(connection: Socket): void {
    this.usableUntil.set(connection, performance.now() + ANNOUNCED_IDLE_S * 1_000);
  }
}
