// End of step 4, check-back: the last check leaves the prepared message to an operator, in the database instead of the
// broker.
import { Injectable } from '@nestjs/common';
import { NOW } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import { insertFirst } from '../core/database/insert-first.js';
import type { Sql } from '../core/database/sql-executor.js';
import { Alerts } from '../core/durable/alerts.js';
import { NEVER_BY_ITSELF, parkedColumns } from '../core/durable/settle-or-park.js';
import { SCHEME } from './failpoints.js';
import type { HalfMessage } from './half-message-tables.js';

/** Stores prepared messages that their last check could not settle, each with one alert. `ParkedMessageActions` handles them further. */
@Injectable()
export class ParkedPreparedMessages {
  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
  ) {}

  /**
   * Parks a prepared message and raises its alert in one transaction. Idempotent. If the process dies before the ack, the
   * broker redelivers the prepared message and a second call changes nothing.
   */
  async park(message: HalfMessage, checks: number): Promise<void> {
    // guard: half-message.park
    const lost = `${this.database.names.inDatabase('dtx_half')} has lost rows`;
    const lastError = `outcome of the local transaction unknown at check ${checks}, the last one: it is still open, or ${lost}`;
    const step = `checking half message ${message.contract}`;
    const incident = { scheme: SCHEME, id: `${message.id}.check`, gid: message.gid, step, lastError };
    const isNew = await this.database.own.transaction(async (sql) => {
      const isParked = await this.store(sql, message, { id: incident.id, attempts: checks, last_error: lastError });
      if (isParked) await this.alerts.raise(sql, incident);
      return isParked;
    });
    if (isNew) this.alerts.announce(incident);
  }

  /** True if this call parked it. It was not stored yet, or an operator had retried it and that claim ends here. */
  private async store(
    sql: Sql,
    message: HalfMessage,
    { id, attempts, last_error }: { id: string; attempts: number; last_error: string },
  ): Promise<boolean> {
    const stored = { id, gid: message.gid, message: JSON.stringify(message) };
    const parked = { ...parkedColumns(last_error), attempts, created_at: NOW };
    if (await insertFirst(sql, 'dtx_half_parked', { ...stored, ...parked })) return true;
    const again = await sql.query(
      `UPDATE dtx_half_parked SET state = 'PARKED', attempts = ?, last_error = ?, next_attempt_at = ${NEVER_BY_ITSELF},
       claim_token = NULL, settled_at = NULL WHERE id = ? AND state <> 'PARKED'`,
      [attempts, last_error, id],
    );
    return again.affectedRows === 1;
  }
}
