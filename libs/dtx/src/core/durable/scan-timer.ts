import { AsyncLocalStorage } from 'node:async_hooks';

/** The shortest time between two scans for delayed rows. Rows that come due within it share a scan. */
const TOGETHER_MS = 10;
const NEVER = Number.POSITIVE_INFINITY;

/**
 * The time of the next scan of a loop: after the regular interval, or earlier when a delayed row comes due. Only the
 * nearest due time is in memory, as a hint. If the process dies, the scan of any instance finds the row.
 */
export class ScanTimer {
  private timer: NodeJS.Timeout | undefined;
  /** The planned scan by the monotonic process clock. Never, while a scan is in flight. */
  private plannedAt = NEVER;
  /** The due time of the nearest delayed row that is known. */
  private dueAt = NEVER;
  /** The scans run outside the async context of the caller, without its trace and gid. */
  private readonly outside = AsyncLocalStorage.snapshot();

  constructor(
    private readonly intervalMs: number,
    private readonly scan: () => void,
  ) {}

  /** The longest regular interval in milliseconds. A delayed row that is due later is found by the next scan. */
  static aheadMs(intervalMs: number): number {
    return Math.ceil(intervalMs * 1.2);
  }

  /** Plans the next scan, in place of the one that was planned. */
  in(delayMs: number): void {
    clearTimeout(this.timer);
    this.plannedAt = performance.now() + delayMs;
    this.outside(() => (this.timer = setTimeout(() => this.fire(), Math.ceil(delayMs))));
  }

  /** Plans the scan after one that has ended. The spread keeps instances from scanning together. */
  next(): void {
    const regular = this.intervalMs * (0.8 + Math.random() * 0.4);
    this.in(Math.max(0, Math.min(regular, this.dueAt - performance.now())));
  }

  /** A delayed row is due after this time. A scan in flight may have missed it, so the next one is planned for it. */
  due(inMs: number): void {
    if (inMs > ScanTimer.aheadMs(this.intervalMs)) return;
    // guard: loop.due-timer
    this.dueAt = Math.min(this.dueAt, performance.now() + Math.max(inMs, TOGETHER_MS));
    if (this.plannedAt !== NEVER && this.dueAt < this.plannedAt) this.in(this.dueAt - performance.now());
  }

  stop(): void {
    clearTimeout(this.timer);
    this.plannedAt = NEVER;
  }

  private fire(): void {
    this.plannedAt = NEVER;
    if (this.dueAt <= performance.now() + 1) this.dueAt = NEVER;
    this.scan();
  }
}
