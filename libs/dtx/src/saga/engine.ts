// Step 5 of 5 - engine: takes rows, goes forward or back, marks the end. The process that starts a saga runs it at once with
// a lease. If it dies, the scan of any instance that has the saga's version goes on once the lease has expired.
import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { backoffMs } from '../core/async/backoff.js';
import { Broker } from '../core/broker/broker.service.js';
import { Database } from '../core/database/database.service.js';
import { sqlOf } from '../core/database/transaction-sql-executor.js';
import { Alerts } from '../core/durable/alerts.js';
import { reschedule } from '../core/durable/claim-and-reschedule.js';
import type { DurableLoop, Tried } from '../core/durable/durable-loop.js';
import type { TableRow } from '../core/durable/durable-table.js';
import type { Outcome } from '../core/durable/durable-work.js';
import { whileLeased } from '../core/durable/lease-renewal.js';
import { DurableLoops } from '../core/durable/loop-factory.js';
import { failpoint } from '../core/failpoint.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { emit } from '../core/telemetry-events.js';
import { Compensation } from './compensation.js';
import { type Began, Definitions } from './definitions.js';
import { failpoints } from './failpoints.js';
import { Forward, type RunEnd } from './forward.js';
import { leaseMsOf, SAGA_OPTIONS, type SagaOptions } from './options.js';
import { resolveByHand } from './resolution.js';
import { ClaimLost, StepRuns } from './run-step.js';
import type { Saga } from './saga-entries.js';
import { SagaRows } from './saga-rows.js';
import { SAGA, type SagaRow } from './saga-tables.js';
import { SCHEME } from './scheme-name.js';
import { StepCalls } from './step-calls.js';
import { StepRecords } from './step-records.js';
import { StoredSagas } from './stored-sagas.js';
import { TracedRun } from './traced-saga.js';

/** An unavailable app is called again after the delay of this attempt number. */
const AWAY_RETRY_ATTEMPT = 3;
/** A group that no process has reached. Every group that may be undone is. */
const ALL = 1_000;

/** Runs sagas of this app. */
@Injectable()
export class SagaEngine implements OnModuleInit, OnModuleDestroy {
  private readonly loop: DurableLoop<SagaRow>;

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly definitions: Definitions,
    private readonly calls: StepCalls,
    private readonly forward: Forward,
    private readonly compensation: Compensation,
    private readonly rows: SagaRows,
    private readonly stored: StoredSagas,
    private readonly alerts: Alerts,
    private readonly stepRuns: StepRuns,
    records: StepRecords,
    loops: DurableLoops,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(SAGA_OPTIONS) private readonly options: SagaOptions,
  ) {
    this.loop = loops.create<SagaRow>({
      scheme: SCHEME,
      table: SAGA,
      leaseMs: this.leaseMs,
      scanIntervalMs: core.scanIntervalMs,
      concurrencyMax: options.concurrencyMax,
      attemptsMax: options.attemptsMax,
      backoff: options.backoff,
      mine: () => this.definitions.mine,
      canRun: () => this.definitions.isUsable && this.calls.isUp,
      run: (row) => this.run(row),
      describe: (row) => ({ gid: row.id, step: `${wayOf(row)} saga ${row.saga} v${row.version}` }),
      resolve: (tx: EntityManager, row: TableRow, outcome: Outcome) =>
        resolveByHand({
          sql: sqlOf(tx),
          row,
          outcome,
          records,
          saga: definitions.of(row as unknown as Began),
        }),
    });
  }

  onModuleInit(): void {
    this.database.onReady(() => this.loop.start());
    this.broker.publisher.on('up', () => this.loop.wake());
  }

  async onModuleDestroy(): Promise<void> {
    await this.loop.stop();
  }

  private get leaseMs(): number {
    return leaseMsOf(this.core, this.options);
  }

  wake(): void {
    this.loop.wake();
  }

  /** The fast path, right after the commit of the start. Without room the row waits for its lease to expire. */
  async begin(row: SagaRow): Promise<void> {
    await failpoint(failpoints.started, async () => {});
    if (this.definitions.isUsable && this.loop.room > 0) this.loop.runNow(row);
  }

  @TracedRun
  private run(row: SagaRow): Promise<Tried> {
    const isLocked = () => this.stepRuns.isMarking(row.id);
    const leased = { sql: this.database.own, table: SAGA, row, leaseMs: this.leaseMs, isLocked };
    return this.stored.whileRunning(row.id, () => whileLeased(leased, () => this.runLeased(row)));
  }

  private async runLeased(claimed: SagaRow): Promise<Tried> {
    const row = { ...claimed, step: Number(claimed.step), attempts: Number(claimed.attempts) };
    const saga = this.definitions.of(row);
    if (!saga) return { kind: 'unreachable' };
    try {
      const end = await this.go(row, saga);
      return await this.conclude(end);
    } catch (error) {
      if (error instanceof ClaimLost) return { kind: 'settled' };
      throw error;
    }
  }

  private async go(row: SagaRow, saga: Saga): Promise<{ readonly row: SagaRow; readonly end: RunEnd }> {
    if (row.direction === 'COMPENSATING') return { row, end: await this.compensation.run(row, saga) };
    const end = await this.forward.run(row, saga);
    if (end.kind !== 'compensate') return { row, end };
    // A process that was suspended may still call a later step. Only the first run knows that there is none.
    // guard: saga.may-have-run
    const decided = await this.rows.decide(row, end.reason, row.isFirstRun ? end.through : ALL);
    if (!decided) return { row, end: { kind: 'stopped' } };
    return { row: decided, end: await this.compensation.run(decided, saga) };
  }

  private async conclude({ row, end }: { readonly row: SagaRow; readonly end: RunEnd }): Promise<Tried> {
    if (end.kind === 'completed') return this.complete(end.row, end.isMarked);
    if (end.kind === 'stopped' || end.kind === 'compensate') return { kind: 'settled' };
    if (end.kind === 'away') return { kind: 'unreachable', delayMs: this.awayMs(row) };
    const attempts = end.attempts + 1;
    if (end.kind === 'fatal' || attempts >= this.options.attemptsMax) {
      await this.loop.park(row, end.error, attempts);
      this.stored.parked(row.id);
      return { kind: 'settled' };
    }
    emit('retried', { scheme: SCHEME, id: row.id, gid: row.id });
    const delayMs = Math.min(backoffMs(this.options.backoff, attempts), this.leftMs(row));
    await reschedule(this.database.own, SAGA, row, { error: end.error, delayMs, attempts });
    return { kind: 'settled' };
  }

  /** The final mark. If the process dies before it, the steps are asked again, and each answers as a repeat. */
  private async complete(row: SagaRow, isMarked: boolean): Promise<Tried> {
    const isOurs = isMarked || (await this.rows.settle(row));
    if (!isOurs) return { kind: 'settled' };
    await failpoint(failpoints.marked, async () => {});
    emit('settled', { scheme: SCHEME, ms: this.database.ageMs(row.id), id: row.id, gid: row.id });
    this.stored.over(row);
    if (!row.isFirstRun) await this.alerts.close(this.database.own, SCHEME, [row.id]).catch(() => {});
    return { kind: 'settled' };
  }

  private awayMs(row: SagaRow): number {
    return Math.min(backoffMs(this.options.backoff, AWAY_RETRY_ATTEMPT), this.leftMs(row));
  }

  /** An undecided saga, and one at its pivot, is taken up at its deadline at the latest. */
  private leftMs(row: SagaRow): number {
    if (row.direction === 'COMPENSATING' || row.direction === 'FORWARD') return Number.POSITIVE_INFINITY;
    const leftMs = this.rows.untilDeadlineMs(row);
    return leftMs > 0 ? leftMs + 1 : Number.POSITIVE_INFINITY;
  }
}

function wayOf({ direction }: SagaRow): string {
  if (direction === 'COMPENSATING') return 'compensating';
  return direction === 'PIVOT' ? 'pivot of' : 'going forward with';
}
