/**
 * Scan status of one durable loop, for readiness and metrics. Times are in milliseconds of the monotonic process clock.
 */
export class Scan {
  private completedAt = performance.now();
  /** The reason why the last scan was not completed. Empty after a completed scan. */
  private why = '';

  constructor(
    readonly name: string,
    /** Scan interval in milliseconds. */
    readonly everyMs: number,
  ) {}

  /** Marks a completed scan. A scan that finds a known-unavailable dependency also counts. */
  completed(): void {
    this.completedAt = performance.now();
    this.why = '';
  }

  /** Marks a failed scan. */
  failed(why: string): void {
    this.why = why;
  }

  /** Milliseconds since the last completed scan, or since the start of the loop. */
  get ageMs(): number {
    return performance.now() - this.completedAt;
  }

  /** The reason why the loop makes no progress. Empty while the last completed scan is recent. */
  get problem(): string {
    const ageMs = this.ageMs;
    if (ageMs < Math.max(OLD_AT_LEAST_MS, OLD_TIMES * this.everyMs)) return '';
    return `no completed scan for ${Math.round(ageMs / 1_000)} s${this.why && `: ${this.why}`}`;
  }
}

const OLD_TIMES = 5;
/** The lowest age that counts as stalled. A claim may wait for a lock, and a connection may have to be opened. */
const OLD_AT_LEAST_MS = 10_000;

/** The durable loops that run in this process. */
export class Scans {
  private readonly running = new Set<Scan>();

  begin(name: string, everyMs: number): Scan {
    const scan = new Scan(name, everyMs);
    this.running.add(scan);
    return scan;
  }

  end(scan: Scan | undefined): void {
    if (scan) this.running.delete(scan);
  }

  get all(): readonly Scan[] {
    return [...this.running];
  }
}
