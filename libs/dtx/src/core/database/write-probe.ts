import { setTimeout as sleep } from 'node:timers/promises';
import { textOf } from '../errors/errors.js';
import type { Sql } from './sql-executor.js';

/**
 * Costs no commit. A read-only server refuses the beginning to an account that cannot write there (1290), and a Galera node
 * without quorum refuses the table (1047). Both answer `SELECT 1`. Reading `read_only` would not do, since a privileged
 * account may write in spite of it.
 */
const BEGIN_TO_WRITE = 'START TRANSACTION READ WRITE; SELECT id FROM dtx_alert LIMIT 0; ROLLBACK';

/**
 * The time in milliseconds after which a look without an answer is a problem. The statement touches no row, so a server that
 * works answers it in milliseconds. Two looks in a row pause the consumers, see `PauseWithoutWrites`.
 */
export const WRITE_PROBE_LIMIT_MS = 2_000;

/** Finds out whether the own database takes writes. */
export class WriteProbe {
  private running: Promise<string> | undefined;
  private next: Promise<string> | undefined;

  /** @param pool a connection that nothing else waits for */
  constructor(private readonly pool: Sql) {}

  /**
   * The reason why the database takes no write, or an empty text. The look begins after this call, because an older one
   * may have been answered before the error that the caller asks about. Callers during a look share the next one.
   */
  problem(): Promise<string> {
    if (!this.running) return this.begin();
    this.next ??= this.running.then(() => {
      this.next = undefined;
      return this.begin();
    });
    return this.next;
  }

  private begin(): Promise<string> {
    const look = this.look().finally(() => (this.running = undefined));
    this.running = look;
    return look;
  }

  private async look(): Promise<string> {
    const write = this.pool.query(BEGIN_TO_WRITE).then(() => '', textOf);
    const limit = sleep(WRITE_PROBE_LIMIT_MS, `no answer within ${WRITE_PROBE_LIMIT_MS} ms`, { ref: false });
    return Promise.race([write, limit]);
  }
}
