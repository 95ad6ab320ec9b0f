import { Inject, Injectable } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import { inFuture } from '../core/durable/claim-and-reschedule.js';
import { Purger } from '../core/durable/purge.js';
import { DecisionLog } from './decision-log-trust.js';
import { heldForMs, XA_OPTIONS, type XaOptions } from './options.js';
import { ResourceManagers } from './resource-manager-registry.js';
import { SENTINEL } from './xa-tables.js';

/** Removes DONE decisions that are past the retention, after their witnesses in all branch databases. */
@Injectable()
export class XaPurge {
  constructor(
    private readonly database: Database,
    private readonly resources: ResourceManagers,
    private readonly log: DecisionLog,
    @Inject(XA_OPTIONS) private readonly options: XaOptions,
    purger: Purger,
  ) {
    if (resources.branches.length > 0)
      purger.add({ name: 'xa decisions', batch: (limit) => this.removeFinished(limit) });
  }

  /**
   * Removes one batch. The retention counts from the begin of a transaction, as in recovery. A decision stays while a
   * session may still hold a branch of it. If the process dies between the deletes, the decisions are still there and
   * the next batch removes the same ones.
   */
  private async removeFinished(limit: number): Promise<number> {
    // A copied log must not remove witnesses of the original.
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
