// For step 4, check-back: that there is no verdict says something only while the table of verdicts has lost none.
import { Inject, Injectable } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import { insertFirst, NOW } from '../core/database/insert-first.js';
import type { Sql } from '../core/database/sql.js';
import { Alerts } from '../core/durable/alerts.js';
import { inFuture } from '../core/durable/claim.js';
import { Purger } from '../core/durable/purge.js';
import { NEVER_BY_ITSELF, parkedColumns } from '../core/durable/settle.js';
import { OutcomeUnknown } from '../core/errors/errors.js';
import { SCHEME } from './failpoints.js';
import { VERDICTS_LOST } from './half-message-table.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';

/** `dtx_half` has lost rows: nothing can be ruled, since what is not in it may have been committed. */
export class VerdictsLost extends OutcomeUnknown {}

const TEXT =
  'dtx_half has lost rows (emptied or swept): the copies of half messages that it knows nothing of are not ruled back. ' +
  `Write the missing verdicts, or see that none is missing, then POST /dtx/transactions/${VERDICTS_LOST}/resolve ` +
  '{"outcome":"done"}: copies without a verdict are ruled back again';

/**
 * Remembers one verdict that is there, the newest, and looks whether it still is: a table that was emptied has lost it.
 * One that was restored together with the business of its database has lost nothing that its business has not.
 */
@Injectable()
export class WholeVerdicts {
  /** A verdict that is younger than that has not been purged. */
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

  /** @throws VerdictsLost when the verdict that is remembered is gone */
  async require(sql: Sql): Promise<void> {
    if (await this.isLost(sql)) throw new VerdictsLost('dtx_half has lost rows: what it does not say is not known');
  }

  /** Of two instances the one that comes later remembers the same verdict, or a newer one. */
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

  /** The row and its one alert are written together; a person has closed it when it is not PARKED any more. */
  private async report(): Promise<void> {
    const incident = { scheme: SCHEME, id: VERDICTS_LOST, gid: null, step: 'ruling half messages', lastError: TEXT };
    const isNew = await this.database.own.transaction(async (sql) => {
      const row = { id: VERDICTS_LOST, gid: 'half-verdicts', message: '{}', ...parkedColumns(TEXT), created_at: NOW };
      if (!(await insertFirst(sql, 'dtx_half_parked', row)))
        await sql.query(
          `UPDATE dtx_half_parked SET state = 'PARKED', next_attempt_at = ${NEVER_BY_ITSELF}, settled_at = NULL WHERE id = ?`,
          [VERDICTS_LOST],
        );
      return this.alerts.raise(sql, incident);
    });
    if (isNew) this.alerts.announce(incident);
  }
}

/** A person has looked into it, in the transaction that closes it: another verdict is remembered from now on. */
export async function trustVerdicts(sql: Sql): Promise<void> {
  await sql.query('DELETE FROM dtx_half_mark');
}
