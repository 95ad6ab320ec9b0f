/** A shared transaction that lasts longer, in milliseconds, may hold up its units. */
const SLOW_MS = 100;
/** The time in milliseconds that units wait for the shared transaction before, at least and at most. */
const PATIENCE_MS = { min: 100, max: 1_000 };
/** The share of the newest time in the mean, and of the mean that a slow shared transaction takes away. */
const NEWEST = 1 / 8;

/**
 * The number of units in the next shared transaction of a kind. Sharing is fast when BEGIN, COMMIT and the wait for a busy
 * server cost more than the code of the units. It is slow when their code waits for something else, which units by
 * themselves do at the same time. So both are measured, from the begin of the code until after COMMIT.
 */
export class SharedTransactionSize {
  /** 1: each unit runs by itself. */
  units: number;
  private succeededAlone = 0;
  /** The mean time of a unit by itself in milliseconds. 0: none has run. */
  private aloneMs = 0;

  /** @param unitsMax the largest number of units in one transaction, at least 2 */
  constructor(private readonly unitsMax: number) {
    this.units = Math.min(2, unitsMax);
  }

  /** How long units wait for the shared transaction before, in milliseconds, until the first of them run by themselves. */
  get patienceMs(): number {
    return Math.min(Math.max(2 * this.aloneMs, PATIENCE_MS.min), PATIENCE_MS.max);
  }

  /** After a shared transaction: half as many if each further unit has added half of its time by itself, else twice as many. */
  shared(units: number, ms: number): void {
    const isLong = ms > SLOW_MS;
    const isSlow = isLong && ms > (this.aloneMs * (units + 1)) / 2;
    // A time from a server that was slow must not excuse slow code later. It is measured anew when units run by themselves.
    if (isLong) this.aloneMs *= 1 - NEWEST;
    if (isSlow) this.succeededAlone = 0;
    this.units = isSlow ? Math.max(1, this.units >> 1) : Math.min(this.unitsMax, this.units * 2);
  }

  /** After a shared transaction that failed. Each unit runs by itself, until as many have succeeded as may share. */
  failed(): void {
    this.units = 1;
    this.succeededAlone = 0;
  }

  alone(ms: number): void {
    this.aloneMs = this.aloneMs === 0 ? ms : this.aloneMs + (ms - this.aloneMs) * NEWEST;
    if (this.units === 1 && ++this.succeededAlone >= this.unitsMax) this.units = 2;
  }

  failedAlone(): void {
    this.succeededAlone = 0;
  }
}
