// For step 2 of 5 - record: events that arrive at the same time are inserted by one statement. If the process dies before
// its commit, the broker redelivers all of them.
import { Batcher } from '../core/async/batcher.js';
import type { Database } from '../core/database/database.service.js';
import type { Values } from '../core/database/insert-first.js';
import type { SqlScalar } from '../core/database/sql-literals.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { failpoints } from './failpoints.js';

const DELAY_MS = 2;
const ROWS_MAX = 100;
/** Bytes of the bodies in one statement, far below `max_allowed_packet` of any server. */
const BYTES_MAX = 128 * 1024;

interface Waiting {
  readonly values: Values;
  isInserted: boolean;
}

/** Inserts rows of `dtx_notification`, many in one statement. */
export class NotificationBatches {
  private readonly batches: Batcher<Waiting>;

  constructor(private readonly database: Database) {
    this.batches = new Batcher({ delayMs: DELAY_MS, batchMax: ROWS_MAX }, (all) => this.insertAll(all));
  }

  /**
   * Returns true if the row is committed. After false the caller inserts it alone: a row beside it, or the row itself, is
   * a duplicate or cannot be stored.
   * @throws the error of a database that is unavailable
   */
  async insert(values: Values): Promise<boolean> {
    const one: Waiting = { values, isInserted: false };
    await this.batches.add(one);
    return one.isInserted;
  }

  private async insertAll(all: readonly Waiting[]): Promise<void> {
    const bytes = all.reduce((sum, { values }) => sum + Buffer.byteLength(String(values.body)), 0);
    if (bytes > BYTES_MAX) return;
    const rows = all.map(({ values }) => Object.values(values) as SqlScalar[]);
    const columns = Object.keys(all[0]!.values).join(', ');
    try {
      await failpoint(failpoints.recorded, () =>
        this.database.own.query(`INSERT INTO dtx_notification (${columns}) VALUES ?`, [rows]),
      );
    } catch (error) {
      if (isUnavailable(error)) throw error;
      return;
    }
    for (const one of all) one.isInserted = true;
  }
}
