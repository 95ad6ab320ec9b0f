import { AsyncLocalStorage } from 'node:async_hooks';
import { backoffMs } from '../async/backoff.js';
import type { Database } from '../database/database.service.js';
import { textOf } from '../errors/errors.js';
import { isUnavailable } from '../errors/sql-errors.js';
import { libraryLogger } from '../library-logger.js';
import type { Scan } from '../scan-status.js';
import { emit } from '../telemetry-events.js';
import { withGid, withTraceparent } from '../trace-and-gid-context.js';
import type { Alerts } from './alerts.js';
import { claimDue, giveBack, putOff, reschedule } from './claim-and-reschedule.js';
import { KeyedClaim } from './concurrency-key-claim.js';
import { HOLD_MS, KeyShares } from './concurrency-key-shares.js';
import type { DurableRow } from './durable-table.js';
import type { DurableWork, Tried } from './durable-work.js';
import { park } from './settle-or-park.js';

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
  private readonly inWork = new Set<Promise<void>>();
  /** Set if the table has a concurrency key and the work limits it. */
  private readonly keyed: { readonly places: KeyShares<Row>; readonly claims: KeyedClaim<Row> } | undefined;
  private timer: NodeJS.Timeout | undefined;
  /** The scan in flight. Undefined between two scans. */
  private scanning: Promise<void> | undefined;
  private again = false;
  private stopped = true;
  private scanned: Scan | undefined;
  /** The scans run outside the async context of the caller of `wake`, without its trace and gid. */
  private readonly outside = AsyncLocalStorage.snapshot();

  constructor(
    private readonly work: DurableWork<Row>,
    private readonly database: Database,
    private readonly alerts: Alerts,
  ) {
    this.logger = libraryLogger(`loop ${work.table.name}`);
    const { table, perKeyMax, concurrencyMax, leaseMs, mine } = work;
    if (table.concurrencyKey && perKeyMax) {
      const places = new KeyShares<Row>(table.concurrencyKey, { concurrencyMax, perKeyMax });
      this.keyed = { places, claims: new KeyedClaim(() => database.own, table, leaseMs + HOLD_MS, mine) };
    }
  }

  /** Starts the scans. */
  start(): void {
    if (!this.stopped) return;
    this.stopped = false;
    this.scanned = this.database.scans.begin(this.work.table.name, this.work.scanIntervalMs);
    this.schedule(0);
  }

  /**
   * Stops the scans and waits for the scan in flight and for the rows in work. A claim that ends after the stop is
   * returned, which needs a pool that is still open.
   */
  async stop(): Promise<void> {
    this.stopped = true;
    this.database.scans.end(this.scanned);
    clearTimeout(this.timer);
    await this.scanning;
    if (this.scanned) await this.giveBackWaiting({ all: true });
    while (this.inWork.size > 0) await Promise.allSettled(this.inWork);
  }

  /** Scans at once, after a dependency is back or an operator acted. */
  wake(): void {
    if (!this.stopped) this.schedule(0);
  }

  /** The number of rows that can start now. */
  get room(): number {
    return this.stopped ? 0 : this.work.concurrencyMax - this.inWork.size;
  }

  /** Whether a row with this concurrency key can start now. */
  hasRoomIn(key: string): boolean {
    return this.room > 0 && (this.keyed?.places.room(key) ?? 1) > 0;
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
    const { traceparent } = row as { traceparent?: string | null };
    const gid = this.work.describe(row)?.gid;
    let isSilent = false;
    const running: Promise<void> = withTraceparent(traceparent, () =>
      withGid(gid, () => this.runOne(row, () => leaveShare(false))),
    )
      .then((tried) => {
        isSilent = tried.kind === 'failed' && tried.isSilent === true;
      })
      .catch((error) =>
        this.logger.warn(
          `run of ${row.id} in ${this.work.table.name} failed, the scan retries it while it is open: ${textOf(error)}`,
        ),
      )
      .finally(() => {
        this.inWork.delete(running);
        leaveShare(isSilent);
        const isLeft = key !== undefined && this.keyed?.claims.hasLeft(key) && this.keyed.places.wanted(key) > 0;
        if ((this.again || isLeft) && this.room > 0) this.wake();
      });
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

  /**
   * Returns waiting rows before their lease expires. If the process dies before, the rows are due again when the lease
   * expires.
   */
  private async giveBackWaiting({ all = false } = {}): Promise<void> {
    const rows = this.keyed?.places.takeWaiting({ all }) ?? [];
    await giveBack(this.database.own, this.work.table, rows).catch((error) =>
      this.logger.warn(
        `cannot return ${rows.length} rows of ${this.work.table.name}, due again when their lease expires: ${textOf(error)}`,
      ),
    );
  }

  private schedule(delayMs: number): void {
    clearTimeout(this.timer);
    if (!this.stopped) this.outside(() => (this.timer = setTimeout(() => void this.scan(), delayMs)));
  }

  private async scan(): Promise<void> {
    if (this.scanning) {
      this.again = true;
      return;
    }
    this.again = false;
    this.scanning = this.scanOnce();
    await this.scanning;
    this.scanning = undefined;
    this.schedule(this.work.scanIntervalMs * (0.8 + Math.random() * 0.4));
  }

  /** Never rejects. */
  private async scanOnce(): Promise<void> {
    // While a dependency is unavailable, the loop has nothing to claim.
    let isCompleted = !this.work.canRun();
    try {
      await this.giveBackWaiting();
      while (!this.stopped && this.work.canRun() && this.room > 0) {
        // More rows may be due. The scan continues when a place is free.
        this.again = await this.claim(this.room);
        isCompleted = true;
        if (!this.again) break;
      }
      if (isCompleted) this.scanned?.completed();
      else this.scanned?.failed(`all ${this.inWork.size} places are taken by rows in work`);
    } catch (error) {
      this.scanned?.failed(textOf(error));
      if (!isUnavailable(error))
        this.logger.error(`scan of ${this.work.table.name} failed, retrying: ${textOf(error)}`);
    }
  }

  /** Claims and starts rows. Returns whether more rows may be due. */
  private async claim(limit: number): Promise<boolean> {
    if (this.keyed) return this.claimOfKeys(this.keyed);
    const { table, leaseMs } = this.work;
    const rows = await claimDue<Row>(this.database.own, table, { limit, leaseMs, only: this.work.mine?.() });
    if (this.stopped) await giveBack(this.database.own, table, rows);
    else for (const row of rows) this.runNow(row);
    return rows.length === limit;
  }

  private async claimOfKeys({ places, claims }: NonNullable<typeof this.keyed>): Promise<boolean> {
    const wanted = (key: string) => places.wanted(key);
    const { rows, isMore } = await claims.claim(Math.max(this.work.concurrencyMax, CLAIM_ROWS), wanted, places.full());
    places.add(rows);
    if (this.stopped) await this.giveBackWaiting({ all: true });
    this.beginWaiting();
    return isMore;
  }

  private async runOne(row: Row, answered: () => void): Promise<Tried> {
    const tried = await this.work
      .run(row, answered)
      .catch(
        (error): Tried => (isUnavailable(error) ? { kind: 'unreachable' } : { kind: 'failed', error: textOf(error) }),
      );
    await this.conclude(row, tried);
    return tried;
  }

  private async conclude(row: Row, tried: Tried): Promise<void> {
    if (tried.kind === 'settled') return;
    if (tried.kind === 'unreachable') return this.putOff(row, tried.delayMs);
    const attempts = tried.kind === 'fatal' ? row.attempts : row.attempts + 1;
    const error = tried.error.slice(0, 1_000);
    if (tried.kind === 'fatal' || attempts >= this.work.attemptsMax) return this.park(row, error, attempts);
    const atLeastMs = tried.kind === 'failed' ? (tried.atLeastMs ?? 0) : 0;
    emit('retried', { scheme: this.work.describe(row)?.scheme ?? this.work.scheme });
    const delayMs = Math.max(atLeastMs, backoffMs(this.work.backoff, attempts));
    await reschedule(this.database.own, this.work.table, row, { error, delayMs, attempts });
  }

  /**
   * Leaves the row until its lease expires. If expired leases count as attempts, an update marks that the process
   * lives.
   */
  private async putOff(row: Row, delayMs?: number): Promise<void> {
    const { table, leaseMs } = this.work;
    if (table.countsLostLeases || delayMs !== undefined)
      await putOff(this.database.own, table, row, delayMs ?? leaseMs);
  }

  /** Parks a claimed row. Its state and its alert are written in one transaction. */
  async park(row: Row, error: string, attempts: number): Promise<void> {
    const about = this.work.describe(row);
    const parked = await this.database.own.transaction(async (sql) => {
      if (!(await park(sql, this.work.table, row, { error, attempts }))) return false;
      if (about) await this.alerts.raise(sql, { scheme: this.work.scheme, id: row.id, lastError: error, ...about });
      return true;
    });
    if (!parked) return;
    if (about) this.alerts.announce({ scheme: this.work.scheme, id: row.id, lastError: error, ...about });
    await this.work.parked?.(row);
  }
}
