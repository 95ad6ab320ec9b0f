import { Inject, Injectable } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import { inFuture } from '../core/durable/claim.js';
import { Purger } from '../core/durable/purge.js';
import { DecisionLog } from './log.js';
import { heldForMs, XA_OPTIONS, type XaOptions } from './options.js';
import { Resources } from './resource-managers.js';
import { SENTINEL } from './xa-tables.js';

/** A decision goes when all its branches are in their places and its horizon has passed; its witnesses go before it. */
@Injectable()
export class XaPurge {
  constructor(
    private readonly database: Database,
    private readonly resources: Resources,
    private readonly log: DecisionLog,
    @Inject(XA_OPTIONS) private readonly options: XaOptions,
    purger: Purger,
  ) {
    if (resources.branches.length > 0)
      purger.add({ name: 'xa decisions', batch: (limit) => this.removeFinished(limit) });
  }

  /**
   * The retention counts from the begin, as the recovery's own memory does; and no decision goes while a session may have
   * a branch of it. If the process dies in between, the decisions are still there, and the next batch is the same again.
   */
  private async removeFinished(limit: number): Promise<number> {
    // A copy of a log removes nothing that the original has left in the branches.
    if (this.log.id === '') return 0;
    const rows: Array<{ id: string; gtrid: string }> = await this.database.own.query(
      `SELECT id, gtrid FROM dtx_xa FORCE INDEX (by_age) WHERE created_at < ${inFuture(-this.options.retentionMs)}
         AND state = 'DONE' AND COALESCE(done_at, created_at) < ${inFuture(-heldForMs(this.options))}
         AND id <> '${SENTINEL}' ORDER BY created_at LIMIT ${Number(limit)}`,
    );
    if (rows.length === 0) return 0;
    const gtrids = rows.map(({ gtrid }) => gtrid);
    for (const resource of this.resources.branches)
      await resource.ask((query) => query('DELETE FROM dtx_xa_witness WHERE gtrid IN (?)', [gtrids]));
    await this.database.own.query('DELETE FROM dtx_xa WHERE id IN (?)', [rows.map(({ id }) => id)]);
    return rows.length;
  }
}
