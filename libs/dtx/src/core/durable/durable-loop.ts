import type { Database } from '../database/database.service.js';
import { textOf } from '../errors/errors.js';
import { isUnavailable } from '../errors/sql-errors.js';
import { libraryLogger } from '../library-logger.js';
import type { Scan } from '../scan-status.js';
import { withTraceAndGid } from '../trace-and-gid-context.js';
import type { Alerts } from './alerts.js';
import { Attempts } from './attempt-conclusion.js';
import { claimDue, giveBack } from './claim-and-reschedule.js';
import { KeyedClaim } from './concurrency-key-claim.js';
import { HOLD_MS, KeyShares, SURPLUS_MAX } from './concurrency-key-shares.js';
import type { DurableRow } from './durable-table.js';
import type { DurableWork } from './durable-work.js';
import { ScanTimer } from './scan-timer.js';

export type { DurableWork, Tried } from './durable-work.js';

/** Rows per claim if concurrency keys limit the starts. */
const CLAIM_ROWS = 200;

/**
 * Drives one durable table: claims due rows, runs them, counts attempts, and parks exhausted rows with one alert. The
 * fast path passes rows that were inserted with a lease of this process (`runNow`). If the process dies, its leases
 * expire and the scan of any instance takes the rows over.
 */
export class DurableLoop<Row extends DurableRow> {
  private readonly logger: ReturnType<typeof libraryLogger>;
  private readonly attempts: Attempts<Row>;
  private readonly inWork = new Set<Promise<void>>();
  /** Set if the table has a concurrency key and the work limits it. */
  private readonly keyed: { readonly places: KeyShares<Row>; readonly claims: KeyedClaim<Row> } | undefined;
  private readonly timer: ScanTimer;
  /** Rows may be due that found no place. The next row that ends makes room for them. */
  private isMore = false;
  private stopped = true;
  private scanned: Scan | undefined;

  /** @param scansAlone false for a loop that scans only in `runOnce`. Its fast path works all the same. */
  constructor(
    private readonly work: DurableWork<Row>,
    private readonly database: Database,
    alerts: Alerts,
    private readonly scansAlone = true,
  ) {
    this.logger = libraryLogger(`loop ${database.names.inDatabase(work.table.name)}`);
    this.attempts = new Attempts(work, database, alerts);
    this.timer = new ScanTimer(work.scanIntervalMs, () => this.scan());
    const { table, perKeyMax, surplusMax = SURPLUS_MAX, leaseMs, mine } = work;
    if (table.concurrencyKey && perKeyMax) {
      const concurrencyMax = work.concurrencyMax - (work.freshMin ?? 0);
      const places = new KeyShares<Row>(table.concurrencyKey, { concurrencyMax, perKeyMax, surplusMax });
      const aheadMs = scansAlone ? ScanTimer.aheadMs(work.scanIntervalMs) : 0;
      this.keyed = { places, claims: new KeyedClaim(() => database.own, table, leaseMs + HOLD_MS, mine, aheadMs) };
    }
  }

  /** Takes rows from now on, and starts the scans. */
  start(): void {
    if (!this.stopped) return;
    this.stopped = false;
    if (!this.scansAlone) return;
    this.scanned = this.database.scans.begin(this.work.table.name, this.work.scanIntervalMs);
    this.timer.start();
  }

  /**
   * Stops the scans and waits for the scan in flight and for the rows in work. A claim that ends after the stop is
   * returned, which needs a pool that is still open.
   */
  async stop(): Promise<void> {
    this.stopped = true;
    this.database.scans.end(this.scanned);
    await this.timer.stop();
    await this.giveBackWaiting({ all: true });
    while (this.inWork.size > 0) await Promise.allSettled(this.inWork);
  }

  /** Scans at once, after a dependency is back or an operator acted. */
  wake(): void {
    this.timer.now();
  }

  /** Scans when a delayed row is due, if that is before the next regular scan. */
  dueIn(delayMs: number): void {
    this.timer.due(delayMs);
  }

  /** Whether a scan could claim rows now. True for a loop that is not in use, which has nothing to claim. */
  get isReady(): boolean {
    return this.stopped || this.work.canRun();
  }

  /** Claims and runs due rows until none is left or `until` is aborted. Resolves to their number. */
  runOnce(until: AbortSignal): Promise<number> {
    return this.timer.alone(() => this.runAllDue(until));
  }

  /** The number of rows that can start now. */
  get room(): number {
    return this.stopped ? 0 : this.work.concurrencyMax - this.inWork.size;
  }

  /** Whether a row with this concurrency key can start now, or soon. */
  hasRoomIn(key: string): boolean {
    const places = this.keyed?.places;
    return this.room > 0 && (!places || places.room(key) > 0 || (this.scansAlone && places.mayWait(key)));
  }

  /**
   * As `runNow`, when the concurrency key of the row has a place. The lease of the row must outlast HOLD_MS. Without scans
   * nothing would end the wait for a place, so another process gets the row.
   */
  runSoon(row: Row): void {
    this.keyed?.places.add([row]);
    if (this.keyed) this.beginWaiting();
    else this.runNow(row);
    if (!this.scansAlone) void this.giveBackWaiting({ all: true });
  }

  /**
   * Runs a row that is leased to this process. Used by the fast path and by the scan.
   * @param takesShare false for a row that takes no place of its concurrency key
   */
  runNow(row: Row, { takesShare = true } = {}): void {
    const key = takesShare ? this.keyed?.places.of(row) : undefined;
    let leave = key === undefined ? undefined : this.keyed?.places.enter(key);
    const leaveShare = (isSilent: boolean) => {
      leave?.(isSilent);
      leave = undefined;
      this.beginWaiting();
    };
    const { traceparent, gid = this.work.describe(row)?.gid } = row as Partial<
      Record<'traceparent' | 'gid', string | null>
    >;
    let isSilent = false;
    const over = () => {
      this.inWork.delete(running);
      leaveShare(isSilent);
      const isLeft = key !== undefined && this.keyed?.claims.hasLeft(key) && this.keyed.places.wanted(key) > 0;
      if ((this.isMore || isLeft) && this.room > 0) this.wake();
    };
    const running: Promise<void> = withTraceAndGid({ traceparent, gid }, () =>
      this.attempts.runOne(row, () => leaveShare(false)),
    ).then(
      (tried) => {
        isSilent = tried.kind === 'failed' && tried.isSilent === true;
        over();
      },
      (error) => {
        this.logger.warn(`run of ${row.id} failed, the scan retries it while it is open: ${textOf(error)}`);
        over();
      },
    );
    this.inWork.add(running);
  }

  /** Starts claimed rows that waited for a place of their concurrency key. */
  private beginWaiting(): void {
    while (this.room > 0) {
      const row = this.keyed?.places.next();
      if (!row) return;
      this.runNow(row);
    }
  }

  /** Returns waiting rows before their lease expires. If the process dies before, they are due again when it expires. */
  private async giveBackWaiting({ all = false } = {}): Promise<void> {
    const rows = this.keyed?.places.takeWaiting({ all }) ?? [];
    // A loop that has claimed nothing may stop before the database is open.
    if (rows.length === 0) return;
    await giveBack(this.database.own, this.work.table, rows).catch((error) =>
      this.logger.warn(`cannot return ${rows.length} rows, due again when their lease expires: ${textOf(error)}`),
    );
  }

  private async runAllDue(until: AbortSignal): Promise<number> {
    let all = 0;
    while (!this.stopped && !until.aborted && this.work.canRun()) {
      await this.giveBackWaiting();
      const { rows, isMore } = this.room > 0 ? await this.claim(this.room) : { rows: 0, isMore: true };
      all += rows;
      while (this.inWork.size > 0) await Promise.all(this.inWork);
      if (rows === 0 && !isMore) break;
    }
    await this.work.writeMarks?.();
    return all;
  }

  /** Never rejects. */
  private async scan(): Promise<void> {
    // While a dependency is unavailable, the loop has nothing to claim.
    let isCompleted = !this.work.canRun();
    let isMore = !isCompleted;
    this.isMore = false;
    try {
      await this.giveBackWaiting();
      while (!this.stopped && this.work.canRun() && this.room > 0) {
        ({ isMore } = await this.claim(this.room));
        isCompleted = true;
        if (!isMore) break;
      }
      this.isMore = isMore;
      if (isCompleted) this.scanned?.completed();
      else this.scanned?.failed(`all ${this.inWork.size} places are taken by rows in work`);
    } catch (error) {
      this.scanned?.failed(textOf(error));
      if (!isUnavailable(error)) this.logger.error(`scan failed, retrying: ${textOf(error)}`);
    }
  }

  /** Claims and starts rows. `isMore`: more rows may be due, for the scan that runs when a place is free. */
  private async claim(limit: number): Promise<{ rows: number; isMore: boolean }> {
    if (this.keyed) return this.claimOfKeys(this.keyed);
    const { table, leaseMs } = this.work;
    const rows = await claimDue<Row>(this.database.own, table, { limit, leaseMs, only: this.work.mine?.() });
    if (this.stopped) await giveBack(this.database.own, table, rows);
    else for (const row of rows) this.runNow(row);
    return { rows: rows.length, isMore: rows.length === limit };
  }

  private async claimOfKeys({ places, claims }: NonNullable<typeof this.keyed>) {
    const wanted = (key: string) => places.wanted(key);
    const limit = Math.max(this.work.concurrencyMax, CLAIM_ROWS);
    const { rows, isMore, dueInMs } = await claims.claim(limit, wanted, places.full());
    if (dueInMs !== undefined) this.dueIn(dueInMs);
    places.add(rows);
    if (this.stopped) await this.giveBackWaiting({ all: true });
    this.beginWaiting();
    return { rows: rows.length, isMore };
  }

  /** Parks a claimed row. Its state and its alert are written in one transaction. */
  park(row: Row, error: string, attempts: number): Promise<void> {
    return this.attempts.park(row, error, attempts);
  }
}
