/** Addresses that are remembered. The oldest one goes first, so callers with many addresses take a bounded amount of memory. */
const ADDRESSES_MAX = 1_000;
export const WRONG_TOKENS_WINDOW_MS = 60_000;

interface Window {
  wrong: number;
  readonly endsAt: number;
}

/**
 * Counts wrong admin tokens by address. After `max` of them in a minute, calls of the address are refused until the minute
 * ends, the right token included: otherwise guessing would go on at full speed. A missing token does not count.
 */
export class WrongTokenLimit {
  private readonly windows = new Map<string, Window>();

  constructor(private readonly max: number) {}

  /** Milliseconds until calls of the address are compared again. 0 while they are. */
  waitMs(address: string, now = performance.now()): number {
    const window = this.windows.get(address);
    return window && window.wrong >= this.max && now < window.endsAt ? window.endsAt - now : 0;
  }

  count(address: string, now = performance.now()): void {
    const window = this.windows.get(address);
    if (window && now < window.endsAt) {
      window.wrong++;
      return;
    }
    this.windows.delete(address);
    if (this.windows.size >= ADDRESSES_MAX) this.windows.delete(this.windows.keys().next().value!);
    this.windows.set(address, { wrong: 1, endsAt: now + WRONG_TOKENS_WINDOW_MS });
  }
}
