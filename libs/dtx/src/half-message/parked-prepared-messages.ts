import { Inject, Injectable } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import { insertFirst, NOW, SqlExpression } from '../core/database/insert-first.js';
import type { Sql } from '../core/database/sql.js';
import { Alerts } from '../core/durable/alerts.js';
import { NEVER_BY_ITSELF } from '../core/durable/claim.js';
import { DurableLoop, type Tried } from '../core/durable/loop.js';
import type { CoreOptions } from '../core/options.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { SCHEME } from './failpoints.js';
import { HALF_PARKED, type HalfMessage, type ParkedRow } from './half-message-table.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';
import { halfMessage } from './prepared-messages.js';
import { VERDICTS_LOST } from './whole.js';

/** Copies whose every check met an open local transaction. Stored with one alert; put back to work by a person. */
@Injectable()
export class ParkedCopies {
  private readonly loop: DurableLoop<ParkedRow>;
  private check: ((message: HalfMessage) => Promise<void>) | undefined;

  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    @Inject(CORE_OPTIONS) core: CoreOptions,
    @Inject(HALF_MESSAGE_OPTIONS) options: HalfMessageOptions,
  ) {
    this.loop = new DurableLoop<ParkedRow>(
      {
        scheme: SCHEME,
        table: HALF_PARKED,
        leaseMs: core.leaseMs,
        scanIntervalMs: core.scanIntervalMs,
        concurrencyMax: options.checkPrefetch,
        attemptsMax: options.attemptsMax,
        backoff: options.sweepBackoff,
        canRun: () => this.check !== undefined,
        run: (row) => this.recheck(row),
        describe: (row) => ({ gid: row.gid, step: 'checking a half message again' }),
      },
      database,
      alerts,
    );
  }

  /** `check` is what becomes of a copy that a person has put back to work. */
  start(check: (message: HalfMessage) => Promise<void>): void {
    this.check = check;
    this.loop.start();
  }

  async stop(): Promise<void> {
    await this.loop.stop();
  }

  wake(): void {
    this.loop.wake();
  }

  /** Stores a copy that gave up, with its alert; a copy of it that comes again finds it stored. */
  async park(message: HalfMessage, checks: number): Promise<void> {
    const lastError = `whether its local transaction has committed was not known at check ${checks}, the last one: it was open, or verdicts are missing`;
    const step = `checking half message ${message.contract}`;
    const incident = { scheme: SCHEME, id: `${message.id}.check`, gid: message.gid, step, lastError };
    const isNew = await this.database.own.transaction(async (sql) => {
      const isParked = await this.store(sql, message, { id: incident.id, attempts: checks, last_error: lastError });
      if (isParked) await this.alerts.raise(sql, incident);
      return isParked;
    });
    if (isNew) this.alerts.announce(incident);
  }

  /** True if it is PARKED by this: it was not there, or a person had put it back to work, whose claim on it ends here. */
  private async store(
    sql: Sql,
    message: HalfMessage,
    { id, attempts, last_error }: { id: string; attempts: number; last_error: string },
  ): Promise<boolean> {
    const next_attempt_at = new SqlExpression(NEVER_BY_ITSELF);
    const parked = { state: 'PARKED', attempts, last_error, next_attempt_at, created_at: NOW };
    const stored = { id, gid: message.gid, message: JSON.stringify(message) };
    if (await insertFirst(sql, 'dtx_half_parked', { ...stored, ...parked })) return true;
    const again = await sql.query(
      `UPDATE dtx_half_parked SET state = 'PARKED', attempts = ?, last_error = ?, next_attempt_at = ${NEVER_BY_ITSELF},
       claim_token = NULL, settled_at = NULL WHERE id = ? AND state <> 'PARKED'`,
      [attempts, last_error, id],
    );
    return again.affectedRows === 1;
  }

  /** As if it had come for its first check. Should that park it once more, our claim is gone and DONE is not written. */
  private async recheck(row: ParkedRow): Promise<Tried> {
    if (row.id === VERDICTS_LOST) return { kind: 'hopeless', error: row.last_error ?? 'verdicts are missing' };
    const message = halfMessage.parse(JSON.parse(row.message));
    await this.check!(message);
    // Should we die before this, the lease ends and it is checked once more, which changes nothing.
    await this.database.own.query(
      `UPDATE dtx_half_parked SET state = 'DONE', next_attempt_at = NULL, claim_token = NULL,
       settled_at = UTC_TIMESTAMP(3) WHERE id = ? AND claim_token = ?`,
      [row.id, row.claim_token],
    );
    return { kind: 'settled' };
  }
}
