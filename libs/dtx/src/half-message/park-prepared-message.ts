// End of step 4, check-back: the last check leaves the prepared message to an operator, in the database instead of the
// broker.
import { Injectable } from '@nestjs/common';
import { NOW } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import { insertFirst } from '../core/database/insert-first.js';
import { Alerts } from '../core/durable/alerts.js';
import { parkedColumns } from '../core/durable/settle-or-park.js';
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
   * Parks a prepared message and raises its alert in one transaction. A copy of a parked message changes nothing, since it
   * is a redelivery: checks after a retry of the operator do without the broker. If the process dies before the ack, the
   * broker redelivers the prepared message.
   */
  async park(message: HalfMessage, checks: number): Promise<void> {
    // guard: half-message.park
    const lastError = outcomeUnknown(this.database.names.inDatabase('dtx_half'), `check ${checks}, the last one`);
    const step = `checking half message ${message.contract}`;
    const incident = { scheme: SCHEME, id: `${message.id}.check`, gid: message.gid, step, lastError };
    const row = {
      id: incident.id,
      gid: message.gid,
      message: JSON.stringify(message),
      attempts: checks,
      created_at: NOW,
    };
    const isNew = await this.database.own.transaction(async (sql) => {
      // guard: half-message.parked-once
      if (!(await insertFirst(sql, 'dtx_half_parked', { ...row, ...parkedColumns(lastError) }))) return false;
      return this.alerts.raise(sql, incident);
    });
    if (isNew) this.alerts.announce(incident);
  }
}

/** The error of a check that found neither a verdict nor the end of the local transaction. */
export function outcomeUnknown(verdictTable: string, check: string): string {
  return `outcome of the local transaction unknown at ${check}: it is still open, or ${verdictTable} has lost rows`;
}
