import { backoffMs } from '../async/backoff.js';
import type { Database } from '../database/database.service.js';
import { textOf } from '../errors/errors.js';
import { isUnavailable } from '../errors/sql-errors.js';
import { emit } from '../telemetry-events.js';
import type { Alerts } from './alerts.js';
import { putOff, reschedule } from './claim-and-reschedule.js';
import type { DurableRow } from './durable-table.js';
import type { DurableWork, Tried } from './durable-work.js';
import { park } from './settle-or-park.js';

const ERROR_CHARS_MAX = 1_000;

/**
 * Runs one claimed row and writes the end of the attempt: rescheduled, put off, or parked with one alert. If the process
 * dies before, the lease of the row expires and another instance runs it.
 */
export class Attempts<Row extends DurableRow> {
  constructor(
    private readonly work: DurableWork<Row>,
    private readonly database: Database,
    private readonly alerts: Alerts,
  ) {}

  async runOne(row: Row, answered: () => void): Promise<Tried> {
    const tried = await this.work
      .run(row, answered)
      .catch(
        (error): Tried => (isUnavailable(error) ? { kind: 'unreachable' } : { kind: 'failed', error: textOf(error) }),
      );
    if (tried.kind !== 'settled') await this.conclude(row, tried);
    return tried;
  }

  private async conclude(row: Row, tried: Exclude<Tried, { kind: 'settled' }>): Promise<void> {
    if (tried.kind === 'unreachable') return this.putOff(row, tried.delayMs);
    const attempts = tried.kind === 'fatal' ? row.attempts : row.attempts + 1;
    const error = tried.error.slice(0, ERROR_CHARS_MAX);
    if (tried.kind === 'fatal' || attempts >= this.work.attemptsMax) return this.park(row, error, attempts);
    const atLeastMs = tried.kind === 'failed' ? (tried.atLeastMs ?? 0) : 0;
    const about = this.work.describe(row);
    emit('retried', { scheme: about?.scheme ?? this.work.scheme, id: row.id, gid: about?.gid });
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
