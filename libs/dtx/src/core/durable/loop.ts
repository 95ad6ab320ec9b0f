import { AsyncLocalStorage } from 'node:async_hooks';
import { Logger } from '@nestjs/common';
import type { Alerts } from '../alert/alerts.js';
import { type Backoff, backoffMs, type Ladder } from '../backoff.js';
import type { Database } from '../database/database.service.js';
import { isUnavailable } from '../database/sql-errors.js';
import { textOf } from '../errors.js';
import { measure } from '../telemetry.js';
import { withGid, withTraceparent } from '../trace.js';
import { claimDue, giveBack, putOff, settleAgain, settleParked } from './claim.js';
import type { Condition, DurableRow, DurableTable } from './durable-table.js';

/** What became of one try. `settled`: the work has written the row's new state itself, fenced by its token. */
export type Tried =
  | { kind: 'settled' }
  /** What it needs is away: not an attempt; the lease runs out and the row is due again. */
  | { kind: 'unreachable' }
  /** `atLeastMs`: whoever failed it has asked for that much time. */
  | { kind: 'failed'; error: string; atLeastMs?: number }
  | { kind: 'hopeless'; error: string };

export interface DurableWork<Row extends DurableRow> {
  readonly scheme: string;
  readonly table: DurableTable;
  readonly leaseMs: number;
  readonly scanIntervalMs: number;
  /** Rows in work at once. */
  readonly concurrencyMax: number;
  /** Rows of one lane in work at once, where the table has lanes. */
  readonly laneMax?: number;
  readonly attemptsMax: number;
  readonly backoff: Backoff | Ladder;
  /** The rows that this process can do; all of them where it is not given. Others are left to other instances. */
  mine?(): Condition;
  /** False while what the work needs is known to be away: nothing is claimed then. */
  canRun(): boolean;
  run(row: Row): Promise<Tried>;
  /** What an alert says about a row that gave up; null raises none. */
  describe(row: Row): { scheme?: string; gid: string | null; step: string } | null;
  /** After the row was parked and the alert written, outside the transaction. */
  parked?(row: Row): Promise<void>;
}

/**
 * Drives one durable table: claims what is due, runs it, and is the only place that counts attempts, parks and alerts.
 * The fast path gives it rows that were inserted already leased to this process (`runNow`); the scan takes over when
 * that process died.
 */
export class DurableLoop<Row extends DurableRow> {
  private readonly logger: Logger;
  private readonly inWork = new Set<Promise<void>>();
  /** How many rows of each lane are in work. */
  private readonly lanes = new Map<string, number>();
  private timer: NodeJS.Timeout | undefined;
  private scanning = false;
  private again = false;
  private stopped = true;
  /** Whoever wakes the loop must not have its trace and gid go on in the scans. */
  private readonly outside = AsyncLocalStorage.snapshot();

  constructor(
    private readonly work: DurableWork<Row>,
    private readonly database: Database,
    private readonly alerts: Alerts,
  ) {
    this.logger = new Logger(`loop ${work.table.name}`);
  }

  /** Begins to scan. */
  start(): void {
    if (!this.stopped) return;
    this.stopped = false;
    this.schedule(0);
  }

  /** Ends scanning and waits for the rows in work. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
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
    return this.room > 0 && (this.lanes.get(lane) ?? 0) < (this.work.laneMax ?? Number.POSITIVE_INFINITY);
  }

  /** Runs a row that is leased to this process; used by the fast path and by the scan alike. */
  runNow(row: Row): void {
    const leaveLane = this.enterLane(row);
    const { traceparent } = row as { traceparent?: string | null };
    const gid = this.work.describe(row)?.gid;
    const running: Promise<void> = withTraceparent(traceparent, () => withGid(gid, () => this.runOne(row)))
      .catch((error) => this.logger.warn(`row ${row.id}: ${textOf(error)}`))
      .finally(() => {
        this.inWork.delete(running);
        const wasFull = leaveLane();
        if ((this.again || wasFull) && this.room > 0) this.wake();
      });
    this.inWork.add(running);
  }

  /** Counts a row in its lane; the function it returns counts it out and tells whether the lane was full. */
  private enterLane(row: Row): () => boolean {
    if (!this.work.table.lane) return () => false;
    const lane = this.laneOf(row);
    this.lanes.set(lane, (this.lanes.get(lane) ?? 0) + 1);
    return () => {
      const wasFull = !this.hasRoomIn(lane);
      const left = this.lanes.get(lane)! - 1;
      if (left > 0) this.lanes.set(lane, left);
      else this.lanes.delete(lane);
      return wasFull;
    };
  }

  private laneOf(row: Row): string {
    return String((row as Record<string, unknown>)[this.work.table.lane!]);
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
    try {
      while (!this.stopped && this.work.canRun() && this.room > 0) {
        const limit = this.room;
        const rows = await this.claim(limit);
        // A full batch means that more is due: go on as soon as there is room, without waiting for the timer.
        this.again = rows.length === limit;
        if (rows.length < limit) break;
      }
    } catch (error) {
      if (!isUnavailable(error)) this.logger.error(`scan failed: ${textOf(error)}`);
    } finally {
      this.scanning = false;
      this.schedule(this.work.scanIntervalMs * (0.8 + Math.random() * 0.4));
    }
  }

  /** Claims and begins; what came of a lane that is full by now is put back at once. */
  private async claim(limit: number): Promise<Row[]> {
    const { table, leaseMs, laneMax = Number.POSITIVE_INFINITY } = this.work;
    const fullLanes = [...this.lanes].filter(([, inWork]) => inWork >= laneMax).map(([lane]) => lane);
    const rows = await claimDue<Row>(this.database.own, table, { limit, leaseMs, fullLanes, only: this.work.mine?.() });
    const over: Row[] = [];
    for (const row of rows) {
      if (!table.lane || this.hasRoomIn(this.laneOf(row))) this.runNow(row);
      else over.push(row);
    }
    await giveBack(this.database.own, table, over);
    return rows;
  }

  private async runOne(row: Row): Promise<void> {
    const tried = await this.work
      .run(row)
      .catch(
        (error): Tried => (isUnavailable(error) ? { kind: 'unreachable' } : { kind: 'failed', error: textOf(error) }),
      );
    if (tried.kind === 'settled') return;
    if (tried.kind === 'unreachable') return this.putOff(row);
    const attempts = tried.kind === 'hopeless' ? row.attempts : row.attempts + 1;
    const error = tried.error.slice(0, 1_000);
    if (tried.kind === 'hopeless' || attempts >= this.work.attemptsMax) return this.park(row, error, attempts);
    const atLeastMs = tried.kind === 'failed' ? (tried.atLeastMs ?? 0) : 0;
    measure('retried', { scheme: this.work.describe(row)?.scheme ?? this.work.scheme });
    const delayMs = Math.max(atLeastMs, backoffMs(this.work.backoff, attempts));
    await settleAgain(this.database.own, this.work.table, row, { error, delayMs, attempts });
  }

  /** The lease runs out. Where that is counted as the end of a process, the row says that it was none. */
  private async putOff(row: Row): Promise<void> {
    const { table, leaseMs } = this.work;
    if (table.countsLostLeases) await putOff(this.database.own, table, row, leaseMs);
  }

  /**
   * Gives up a row that is claimed. The state and its one alert are written together: no row is parked in silence.
   */
  async park(row: Row, error: string, attempts: number): Promise<void> {
    const about = this.work.describe(row);
    const parked = await this.database.own.transaction(async (sql) => {
      if (!(await settleParked(sql, this.work.table, row, { error, attempts }))) return false;
      if (about) await this.alerts.raise(sql, { scheme: this.work.scheme, id: row.id, lastError: error, ...about });
      return true;
    });
    if (!parked) return;
    if (about) this.alerts.announce({ scheme: this.work.scheme, id: row.id, lastError: error, ...about });
    await this.work.parked?.(row);
  }
}
