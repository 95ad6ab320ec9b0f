import { AsyncLocalStorage } from 'node:async_hooks';
import { Logger } from '@nestjs/common';
import { backoffMs } from '../async/backoff.js';
import type { Database } from '../database/database.service.js';
import { textOf } from '../errors/errors.js';
import { isUnavailable } from '../errors/sql-errors.js';
import type { Scan } from '../scan-status.js';
import { measure } from '../telemetry.js';
import { withGid, withTraceparent } from '../trace.js';
import type { Alerts } from './alerts.js';
import { claimDue, giveBack, putOff, settleAgain } from './claim.js';
import type { DurableRow } from './durable-table.js';
import type { DurableWork, Tried } from './durable-work.js';
import { LaneClaim } from './lane-claim.js';
import { HOLD_MS, Lanes } from './lanes.js';
import { park } from './settle.js';

export type { DurableWork, Tried } from './durable-work.js';

/** Rows of one claim where lanes bound what may begin. */
const CLAIM_ROWS = 200;

/**
 * Drives one durable table: claims what is due, runs it, and is the only place that counts attempts, parks and alerts.
 * The fast path gives it rows that were inserted already leased to this process (`runNow`); the scan takes over when
 * that process died.
 */
export class DurableLoop<Row extends DurableRow> {
  private readonly logger: Logger;
  private readonly inWork = new Set<Promise<void>>();
  /** Where the table has lanes, and the work a bound on them. */
  private readonly lanes: { readonly places: Lanes<Row>; readonly claims: LaneClaim<Row> } | undefined;
  private timer: NodeJS.Timeout | undefined;
  private scanning = false;
  private again = false;
  private stopped = true;
  private scanned: Scan | undefined;
  /** Whoever wakes the loop must not have its trace and gid go on in the scans. */
  private readonly outside = AsyncLocalStorage.snapshot();

  constructor(
    private readonly work: DurableWork<Row>,
    private readonly database: Database,
    private readonly alerts: Alerts,
  ) {
    this.logger = new Logger(`loop ${work.table.name}`);
    const { table, laneMax, concurrencyMax, leaseMs, mine } = work;
    if (table.lane && laneMax) {
      const places = new Lanes<Row>(table.lane, { concurrencyMax, laneMax });
      this.lanes = { places, claims: new LaneClaim(() => database.own, table, leaseMs + HOLD_MS, mine) };
    }
  }

  /** Begins to scan. */
  start(): void {
    if (!this.stopped) return;
    this.stopped = false;
    this.scanned = this.database.scans.begin(this.work.table.name, this.work.scanIntervalMs);
    this.schedule(0);
  }

  /** Ends scanning and waits for the rows in work. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.database.scans.end(this.scanned);
    clearTimeout(this.timer);
    await this.giveBackWaiting({ all: true });
    while (this.inWork.size > 0) await Promise.allSettled(this.inWork);
  }

  /** Scans now: what was missing is back, or a person asked. */
  wake(): void {
    if (!this.stopped) this.schedule(0);
  }

  /** How many more rows may be handed over without waiting. */
  get room(): number {
    return this.stopped ? 0 : this.work.concurrencyMax - this.inWork.size;
  }

  /** Whether a row of this lane may be handed over without waiting. */
  hasRoomIn(lane: string): boolean {
    return this.room > 0 && (this.lanes?.places.room(lane) ?? 1) > 0;
  }

  /**
   * Runs a row that is leased to this process; used by the fast path and by the scan alike.
   * @param isInLane false for a row that takes no place in its lane
   */
  runNow(row: Row, { isInLane = true } = {}): void {
    const lane = isInLane ? this.lanes?.places.of(row) : undefined;
    let leave = lane === undefined ? undefined : this.lanes?.places.enter(lane);
    const leaveLane = (isSilent: boolean) => {
      leave?.(isSilent);
      leave = undefined;
      this.beginWaiting();
    };
    const { traceparent } = row as { traceparent?: string | null };
    const gid = this.work.describe(row)?.gid;
    let isSilent = false;
    const running: Promise<void> = withTraceparent(traceparent, () =>
      withGid(gid, () => this.runOne(row, () => leaveLane(false))),
    )
      .then((tried) => {
        isSilent = tried.kind === 'failed' && tried.isSilent === true;
      })
      .catch((error) => this.logger.warn(`row ${row.id}: ${textOf(error)}`))
      .finally(() => {
        this.inWork.delete(running);
        leaveLane(isSilent);
        const isLeft = lane !== undefined && this.lanes?.claims.hasLeft(lane) && this.lanes.places.wanted(lane) > 0;
        if ((this.again || isLeft) && this.room > 0) this.wake();
      });
    this.inWork.add(running);
  }

  /** Begins rows that a claim took for a lane without a free place, as far as there is one now. */
  private beginWaiting(): void {
    while (this.room > 0) {
      const row = this.lanes?.places.next();
      if (!row) return;
      this.runNow(row);
    }
  }

  /** A process that dies before this leaves them leased: they are due again when the lease expires. */
  private async giveBackWaiting({ all = false } = {}): Promise<void> {
    const rows = this.lanes?.places.takeWaiting({ all }) ?? [];
    await giveBack(this.database.own, this.work.table, rows).catch((error) =>
      this.logger.warn(`cannot give rows back before their lease expires: ${textOf(error)}`),
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
    this.scanning = true;
    this.again = false;
    // A loop that waits for a dependency has nothing to look for.
    let isCompleted = !this.work.canRun();
    try {
      await this.giveBackWaiting();
      while (!this.stopped && this.work.canRun() && this.room > 0) {
        // More may be due: go on as soon as there is room, without waiting for the timer.
        this.again = await this.claim(this.room);
        isCompleted = true;
        if (!this.again) break;
      }
      if (isCompleted) this.scanned?.completed();
      else this.scanned?.failed(`${this.inWork.size} rows are in work, and there is no room for more`);
    } catch (error) {
      this.scanned?.failed(textOf(error));
      if (!isUnavailable(error)) this.logger.error(`scan failed: ${textOf(error)}`);
    } finally {
      this.scanning = false;
      this.schedule(this.work.scanIntervalMs * (0.8 + Math.random() * 0.4));
    }
  }

  /** Claims and begins rows. Returns whether more may be due. */
  private async claim(limit: number): Promise<boolean> {
    if (this.lanes) return this.claimOfLanes(this.lanes);
    const { table, leaseMs } = this.work;
    const rows = await claimDue<Row>(this.database.own, table, { limit, leaseMs, only: this.work.mine?.() });
    if (this.stopped) await giveBack(this.database.own, table, rows);
    else for (const row of rows) this.runNow(row);
    return rows.length === limit;
  }

  private async claimOfLanes({ places, claims }: NonNullable<typeof this.lanes>): Promise<boolean> {
    const wanted = (lane: string) => places.wanted(lane);
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
    const attempts = tried.kind === 'hopeless' ? row.attempts : row.attempts + 1;
    const error = tried.error.slice(0, 1_000);
    if (tried.kind === 'hopeless' || attempts >= this.work.attemptsMax) return this.park(row, error, attempts);
    const atLeastMs = tried.kind === 'failed' ? (tried.atLeastMs ?? 0) : 0;
    measure('retried', { scheme: this.work.describe(row)?.scheme ?? this.work.scheme });
    const delayMs = Math.max(atLeastMs, backoffMs(this.work.backoff, attempts));
    await settleAgain(this.database.own, this.work.table, row, { error, delayMs, attempts });
  }

  /** The lease runs out. Where that is counted as the end of a process, the row says that it was none. */
  private async putOff(row: Row, delayMs?: number): Promise<void> {
    const { table, leaseMs } = this.work;
    if (table.countsLostLeases || delayMs !== undefined)
      await putOff(this.database.own, table, row, delayMs ?? leaseMs);
  }

  /**
   * Gives up a row that is claimed. The state and its one alert are written together: no row is parked in silence.
   */
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
