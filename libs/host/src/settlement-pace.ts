/** So many open purchases keep the apps busy. A call does not wait for fewer. */
const OPEN_MAX = 40;
/** A purchase that is older than this time in milliseconds is no longer counted: another instance may have settled it. */
const COUNTED_MS = 1_000;
/** Settlements are late if they take this time in milliseconds longer than usual, by the mean of the last ones. */
const LATE_MS = 50;
const MEAN_OF = 16;
/** The usual age is the smallest one within this time in milliseconds. Waits keep queues short, so it is seen again. */
const USUAL_FOR_MS = 600_000;
/** Waiting calls that begin for one settlement, at most. They begin one after the other, not all at once. */
const BEGIN_MAX = 2;
/** After this time in milliseconds without a settlement no call waits. A consumer is down, and must not delay answers. */
const SILENT_MS = 500;
/** Longest wait of one call in milliseconds. */
const WAIT_MS_MAX = 500;

/**
 * Keeps answers at the pace of settlement. An answer that says PENDING costs less than the settlement that follows, so at
 * full load queues would grow as long as the load lasts. While `OPEN_MAX` purchases are open and settle late, a call waits
 * for a settlement. Each instance takes the settlements that it sees as a sample of all. Only hints in memory.
 * @example
 *   await this.pace.turn();            // before the transaction, because a wait inside would hold its locks
 *   this.pace.settled(ageMs);          // when a purchase is final
 */
export class SettlementPace {
  /** When the open purchases began, oldest first. A settlement takes the oldest one away. */
  private readonly begun: number[] = [];
  private settledShare = 0;
  private lastMs = Number.NEGATIVE_INFINITY;
  private meanAgeMs = 0;
  private usual = { ageMs: Number.POSITIVE_INFINITY, untilMs: 0 };
  private readonly waiting = new Set<() => void>();

  /**
   * @param ageMs the time from the call to the settlement in milliseconds. Undefined if it is not known or the call failed.
   * @param share the part of the purchase that this settles, above 0 and at most 1
   */
  settled(ageMs: number | undefined, share = 1): void {
    const now = performance.now();
    this.settledShare += share;
    if (this.settledShare >= 1) {
      this.settledShare -= 1;
      this.begun.shift();
    }
    if (ageMs !== undefined) this.noteAge(ageMs, now);
    let left = BEGIN_MAX;
    for (const go of this.waiting) {
      if (left-- === 0 || this.mustWait(now)) break;
      go();
    }
  }

  /** Resolves when a call may begin. At once unless too many purchases are open. */
  async turn(): Promise<void> {
    const now = performance.now();
    const mustWait = this.mustWait(now);
    // No settlement lets the calls go that began to wait before.
    if (!mustWait && this.isSilent(now)) for (const go of this.waiting) go();
    if (mustWait || this.waiting.size > 0) await this.wait();
    else this.begun.push(now);
  }

  private wait(): Promise<void> {
    return new Promise((resolve) => {
      const go = () => {
        clearTimeout(timer);
        this.waiting.delete(go);
        this.begun.push(performance.now());
        resolve();
      };
      const timer = setTimeout(go, WAIT_MS_MAX);
      this.waiting.add(go);
    });
  }

  private noteAge(ageMs: number, now: number): void {
    this.meanAgeMs = this.isSilent(now) ? ageMs : this.meanAgeMs + (ageMs - this.meanAgeMs) / MEAN_OF;
    this.lastMs = now;
    if (ageMs <= this.usual.ageMs || now > this.usual.untilMs) this.usual = { ageMs, untilMs: now + USUAL_FOR_MS };
  }

  private mustWait(now: number): boolean {
    while (this.begun.length > 0 && this.begun[0]! < now - COUNTED_MS) this.begun.shift();
    if (this.begun.length < OPEN_MAX) return false;
    // In the first moments of a load nothing has settled yet, and the last ages say nothing.
    if (this.isSilent(now)) return now - this.begun[0]! < SILENT_MS;
    return this.meanAgeMs > this.usual.ageMs + LATE_MS;
  }

  private isSilent(now: number): boolean {
    return now - this.lastMs >= SILENT_MS;
  }
}
