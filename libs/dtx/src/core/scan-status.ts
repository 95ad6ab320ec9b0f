/** What one loop says of its scans. Times are of the process's steady clock, in milliseconds. */
export class Scan {
  private completedAt = performance.now();
  /** Why the last scan was not completed, or empty. */
  private why = '';

  constructor(
    readonly name: string,
    /** How often it scans. */
    readonly everyMs: number,
  ) {}

  /** It has looked at all that it had to look at; what it needs may be known to be unavailable. */
  completed(): void {
    this.completedAt = performance.now();
    this.why = '';
  }

  /** The scan could not be completed. */
  failed(why: string): void {
    this.why = why;
  }

  /** Milliseconds since the last completed scan, or since the loop was started. */
  get ageMs(): number {
    return performance.now() - this.completedAt;
  }

  /** Why the loop does not do its work, or empty: the last completed scan is older than several scans. */
  get problem(): string {
    const ageMs = this.ageMs;
    if (ageMs < Math.max(OLD_AT_LEAST_MS, OLD_TIMES * this.everyMs)) return '';
    return `no scan was completed for ${Math.round(ageMs / 1_000)} s${this.why && `: ${this.why}`}`;
  }
}

const OLD_TIMES = 5;
/** A claim may wait for a lock, and a connection may have to be made. */
const OLD_AT_LEAST_MS = 10_000;

/** The loops that run now. */
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
