import { Inject, Injectable } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import { idFloor } from '../core/gid.js';
import { Purger } from '../core/purge.js';
import { XA_OPTIONS, type XaOptions } from './options.js';
import { Resources } from './resources.js';

/** A decision goes when all its branches are in their places and its horizon has passed; its witnesses go before it. */
@Injectable()
export class XaPurge {
  constructor(
    private readonly database: Database,
    private readonly resources: Resources,
    @Inject(XA_OPTIONS) private readonly options: XaOptions,
    purger: Purger,
  ) {
    if (resources.branches.length > 0)
      purger.add({ name: 'xa decisions', batch: (limit) => this.removeFinished(limit) });
  }

  /** Should we die in between, the decisions are still there, and the next batch is the same again. */
  private async removeFinished(limit: number): Promise<number> {
    const old = idFloor(this.database.nowMs() - this.options.retentionMs);
    const rows: Array<{ id: string; gtrid: string }> = await this.database.own.query(
      `SELECT id, gtrid FROM dtx_xa WHERE id < ? AND state = 'DONE' ORDER BY id LIMIT ${Number(limit)}`,
      [old],
    );
    if (rows.length === 0) return 0;
    const gtrids = rows.map(({ gtrid }) => gtrid);
    for (const resource of this.resources.branches)
      await resource.ask((query) => query('DELETE FROM dtx_xa_witness WHERE gtrid IN (?)', [gtrids]));
    await this.database.own.query('DELETE FROM dtx_xa WHERE id IN (?)', [rows.map(({ id }) => id)]);
    return rows.length;
  }
}
