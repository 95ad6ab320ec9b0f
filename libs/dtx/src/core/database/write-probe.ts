import { setTimeout as sleep } from 'node:timers/promises';
import { textOf } from '../errors/errors.js';
import type { Sql } from './sql-executor.js';

/**
 * A server checks this statement like every write, and changes nothing. It is refused by a read-only server (1290, 1792),
 * and by a Galera node without quorum (1047). A read, such as `SELECT 1`, is answered by both. Reading `read_only` would
 * not do, since a privileged account may write in spite of it.
 */
const WRITE_OF_NOTHING = 'UPDATE dtx_alert SET attempts = attempts WHERE 1 = 0';

/** The time in milliseconds after which a look without an answer is a problem. */
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
    const write = this.pool.query(WRITE_OF_NOTHING).then(() => '', textOf);
    const limit = sleep(WRITE_PROBE_LIMIT_MS, `no answer within ${WRITE_PROBE_LIMIT_MS} ms`, { ref: false });
    return Promise.race([write, limit]);
  }
}
