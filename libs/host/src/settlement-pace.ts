/** A settlement is late if it takes this time in milliseconds longer than usual. */
const LATE_MS = 50;
/** The usual age is the smallest one within this time in milliseconds. Waits keep queues short, so it is seen again. */
const USUAL_FOR_MS = 600_000;
/** After this time in milliseconds without a settlement no call waits. A consumer is down, or there is nothing to settle. */
const SILENT_MS = 500;
/** Waiting calls that begin for each settlement: fewer than end while settlements are late, then more. */
const LATE_SHARE = 1 / 2;
const IN_TIME_SHARE = 2;
/** So many open purchases keep the apps busy. A call does not wait for fewer. */
const IN_WORK = 24;
/** The rate of settlements is a mean over this time in milliseconds. */
const RATE_MS = 250;
const WAIT_MS_MAX = 500;

/**
 * Keeps answers at the pace of settlement. An answer that says PENDING costs less than the settlement that follows, so at
 * full load queues would grow as long as the load lasts. While settlements are late, every second one lets a waiting call
 * begin. A wait has a limit, and there is none while nothing settles, since a consumer that is down must not delay answers.
 * Each instance takes the settlements that it sees as a sample of all. Only hints in memory.
 * @example
 *   await this.pace.turn();            // before the transaction, because a wait inside would hold its locks
 *   this.pace.settled(ageMs);          // when a purchase is final
 */
export class SettlementPace {
  private ageMs = 0;
  private atMs = Number.NEGATIVE_INFINITY;
  /** Settlements per millisecond. */
  private rate = 0;
  private usual = { ageMs: Number.POSITIVE_INFINITY, untilMs: 0 };
  /** Waiting calls that may begin, with the part of one that is left from the last settlements. */
  private turns = 0;
  private readonly waiting = new Set<() => void>();

  /** @param ageMs the time from the call to the settlement in milliseconds. Undefined if it is not known. */
  settled(ageMs: number | undefined): void {
    if (ageMs === undefined) return;
    const now = performance.now();
    const sinceMs = Math.max(1, now - this.atMs);
    this.rate += (1 / sinceMs - this.rate) * (1 - Math.exp(-sinceMs / RATE_MS));
    this.ageMs = ageMs;
    this.atMs = now;
    if (ageMs <= this.usual.ageMs || now > this.usual.untilMs) this.usual = { ageMs, untilMs: now + USUAL_FOR_MS };
    this.turns = this.waiting.size === 0 ? 0 : this.turns + (this.isLate ? LATE_SHARE : IN_TIME_SHARE);
    for (const go of this.waiting) {
      if (this.turns < 1) break;
      this.turns -= 1;
      go();
    }
  }

  /** Resolves when a call may begin. At once unless purchases settle late. */
  async turn(): Promise<void> {
    if (performance.now() - this.atMs >= SILENT_MS) return;
    if (this.waiting.size === 0 && !this.isLate) return;
    await new Promise<void>((resolve) => {
      const go = () => {
        clearTimeout(timer);
        this.waiting.delete(go);
        resolve();
      };
      // Not longer than settlements are late, because none comes if all purchases have ended.
      const timer = setTimeout(go, Math.min(WAIT_MS_MAX, this.ageMs - this.usual.ageMs));
      this.waiting.add(go);
    });
  }

  /** Little's law gives the number of open purchases, also if other instances settle a part of them. */
  private get isLate(): boolean {
    return this.ageMs > this.usual.ageMs + LATE_MS && this.ageMs * this.rate > IN_WORK;
  }
}
