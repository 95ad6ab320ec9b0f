import { AsyncLocalStorage } from 'node:async_hooks';

/** The shortest time between two scans for delayed rows. Rows that come due within it share a scan. */
const TOGETHER_MS = 10;
const NEVER = Number.POSITIVE_INFINITY;

/**
 * When a loop scans: after the regular interval, or earlier when a delayed row comes due or a scan is asked for. One scan
 * is in flight at a time. Only the nearest due time is in memory, as a hint. If the process dies, the scan of any instance
 * finds the row.
 */
export class ScanTimer {
  private timer: NodeJS.Timeout | undefined;
  private isStarted = false;
  /** The scan in flight. Undefined between two scans. */
  private inFlight: Promise<void> | undefined;
  /** A scan was asked for while one was in flight, which may have looked before. */
  private isAsked = false;
  /** The planned scan by the monotonic process clock. Never, while none is planned. */
  private plannedAt = NEVER;
  /** The due time of the nearest delayed row that is known. */
  private dueAt = NEVER;
  /** The scans run outside the async context of the caller, without its trace and gid. */
  private readonly outside = AsyncLocalStorage.snapshot();

  /** @param scan never rejects */
  constructor(
    private readonly intervalMs: number,
    private readonly scan: () => Promise<void>,
  ) {}

  /** The longest regular interval in milliseconds. A delayed row that is due later is found by the next scan. */
  static aheadMs(intervalMs: number): number {
    return Math.ceil(intervalMs * 1.2);
  }

  /** Scans from now on. */
  start(): void {
    this.isStarted = true;
    this.in(0);
  }

  /** Plans no further scan. Resolves when none is in flight. */
  async stop(): Promise<void> {
    this.isStarted = false;
    clearTimeout(this.timer);
    this.plannedAt = NEVER;
    await this.inFlight;
  }

  /** Scans at once, or once more after the scan in flight. */
  now(): void {
    if (!this.isStarted) return;
    if (this.inFlight) this.isAsked = true;
    else this.in(0);
  }

  /** A delayed row is due after this time. A scan in flight may have missed it, so the next one is planned for it. */
  due(inMs: number): void {
    if (!this.isStarted || inMs > ScanTimer.aheadMs(this.intervalMs)) return;
    // guard: loop.due-timer
    this.dueAt = Math.min(this.dueAt, performance.now() + Math.max(inMs, TOGETHER_MS));
    if (this.plannedAt !== NEVER && this.dueAt < this.plannedAt) this.in(this.dueAt - performance.now());
  }

  /** Runs a scan with no other beside it. */
  async alone<T>(scan: () => Promise<T>): Promise<T> {
    while (this.inFlight) await this.inFlight;
    this.isAsked = false;
    const result = scan();
    this.inFlight = result.then(
      () => {},
      () => {},
    );
    try {
      return await result;
    } finally {
      this.inFlight = undefined;
      if (this.isAsked && this.isStarted) this.in(0);
    }
  }

  private async fire(): Promise<void> {
    this.plannedAt = NEVER;
    if (this.inFlight) {
      this.isAsked = true;
      return;
    }
    if (this.dueAt <= performance.now() + 1) this.dueAt = NEVER;
    await this.alone(this.scan);
    if (this.isStarted && this.plannedAt === NEVER) this.next();
  }

  /** Plans the scan after one that has ended. The spread keeps instances from scanning together. */
  private next(): void {
    const regular = this.intervalMs * (0.8 + Math.random() * 0.4);
    this.in(Math.max(0, Math.min(regular, this.dueAt - performance.now())));
  }

  /** Plans the next scan, in place of the one that was planned. */
  private in(delayMs: number): void {
    clearTimeout(this.timer);
    this.plannedAt = performance.now() + delayMs;
    this.outside(() => (this.timer = setTimeout(() => void this.fire(), Math.ceil(delayMs))));
  }
}
