// For step 4, check-back: a missing verdict proves a rollback only while `dtx_half` has lost no rows. This file detects
// such a loss, stops the ruling of ROLLED_BACK and raises one alert.
import { Inject, Injectable } from '@nestjs/common';
import { NOW } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import { insertFirst } from '../core/database/insert-first.js';
import type { Sql } from '../core/database/sql-executor.js';
import { Alerts } from '../core/durable/alerts.js';
import { inFuture } from '../core/durable/claim-and-reschedule.js';
import { Purger } from '../core/durable/purge.js';
import { NEVER_BY_ITSELF, parkedColumns } from '../core/durable/settle-or-park.js';
import { OutcomeUnknown } from '../core/errors/errors.js';
import { SCHEME } from './failpoints.js';
import { VERDICTS_LOST } from './half-message-tables.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';

/** `dtx_half` has lost rows. No verdict can be ruled, since a missing row may have been COMMITTED. */
export class VerdictsLost extends OutcomeUnknown {}

const lossOf = (table: string) =>
  `${table} has lost rows (emptied or deleted), so checks do not rule ROLLED_BACK; ` +
  'insert the missing verdicts, or verify that none is missing, ' +
  `then POST /dtx/transactions/${VERDICTS_LOST}/resolve {"outcome":"done"} to resume`;

/**
 * Remembers the newest verdict in `dtx_half_mark` and checks that it still exists, which fails for an emptied table. A
 * backup restored together with the business rows passes, since both have lost the same transactions.
 */
@Injectable()
export class VerdictLossCheck {
  /** A younger verdict cannot have been purged. */
  private readonly keptMs: number;

  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    purger: Purger,
    @Inject(HALF_MESSAGE_OPTIONS) options: HalfMessageOptions,
  ) {
    this.keptMs = options.retentionMs;
    purger.add({ name: 'mark of half messages', batch: () => this.remember() });
  }

  /** @throws VerdictsLost if the remembered verdict is missing */
  async assertComplete(sql: Sql): Promise<void> {
    if (await this.isLost(sql))
      throw new VerdictsLost(
        `cannot rule ROLLED_BACK: ${this.database.names.inDatabase('dtx_half')} has lost rows; see the alert`,
      );
  }

  /** Safe in several instances, since a later one remembers the same verdict or a newer one. */
  private async remember(): Promise<number> {
    const { own } = this.database;
    if (await this.isLost(own)) await this.report();
    else
      await own.query(
        `REPLACE INTO dtx_half_mark (one, id, created_at)
         SELECT 1, id, created_at FROM dtx_half FORCE INDEX (by_age) ORDER BY created_at DESC LIMIT 1`,
      );
    return 0;
  }

  private async isLost(sql: Sql): Promise<boolean> {
    const rows: unknown[] = await sql.query(
      `SELECT m.id FROM dtx_half_mark m LEFT JOIN dtx_half h ON h.id = m.id
       WHERE h.id IS NULL AND m.created_at > ${inFuture(-this.keptMs)}`,
    );
    return rows.length > 0;
  }

  /** Writes the row and its alert in one transaction. The row of an earlier loss, which an operator has resolved, is parked again. */
  private async report(): Promise<void> {
    const lastError = lossOf(this.database.names.inDatabase('dtx_half'));
    const incident = { scheme: SCHEME, id: VERDICTS_LOST, gid: null, step: 'ruling half messages', lastError };
    const isNew = await this.database.own
      .transaction(async (sql) => {
        const row = { id: VERDICTS_LOST, gid: 'half-verdicts', message: '{}', ...parkedColumns(lastError) };
        if (!(await insertFirst(sql, 'dtx_half_parked', { ...row, created_at: NOW }))) await parkAgain(sql);
        // Under the lock of the row, which an operator holds who resolves this loss: it may be over since it was seen.
        // guard: half-message.still-lost
        if (!(await this.isLost(sql))) throw new LossIsOver();
        return this.alerts.raise(sql, incident);
      })
      .catch((error) => {
        if (error instanceof LossIsOver) return false;
        throw error;
      });
    if (isNew) this.alerts.announce(incident);
  }
}

/** Rolls back a report. */
class LossIsOver extends Error {}

function parkAgain(sql: Sql) {
  return sql.query(
    `UPDATE dtx_half_parked SET state = 'PARKED', next_attempt_at = ${NEVER_BY_ITSELF}, settled_at = NULL WHERE id = ?`,
    [VERDICTS_LOST],
  );
}

/** Forgets the remembered verdict in the transaction in which an operator resolves the loss. The next run remembers anew. */
export async function acceptVerdicts(sql: Sql): Promise<void> {
  await sql.query('DELETE FROM dtx_half_mark');
}
