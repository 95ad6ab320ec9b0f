import type { DataSource } from 'typeorm';
import { DatabaseUnavailable } from '../errors/errors.js';
import { errnoOf } from '../errors/sql-errors.js';
import type { Changed, Row } from './mysql2-types.js';
import { poolBeside, type SessionPool } from './pinned-session-pool.js';
import { pinningSql } from './session-settings.js';
import type { Sql } from './sql-executor.js';
import type { SqlValue } from './sql-literals.js';
import type { TableNames } from './table-prefix.js';

export interface SideLimits {
  /** The maximum number of connections. */
  readonly size: number;
  /** The time in milliseconds after which the server ends a statement. */
  readonly limitMs: number;
  /** The table names of the installation. */
  readonly names: TableNames;
}

const LOCK_WAIT_SECONDS = 1;
const SILENCE_SECONDS = 8;
const IDLE_MS = 2_000;
const WAITERS_MAX = 100;
/** The extra wait in milliseconds for an answer, because the server measures by its own clock. */
const ANSWER_MARGIN_MS = 500;
/** The errors of a statement that exceeded its time: MariaDB, MySQL. */
const TIME_IS_OVER = new Set([1969, 3024]);

/**
 * A few connections for the reads of `/dtx` and the metrics, which may be slow on large tables. They take no connection
 * from handlers or recovery. The server ends each statement at its time
 * limit, so a statement without a caller does not run on. A connection that does not answer is closed. Connections open
 * at the first use and close when idle.
 */
export class SidePool implements Sql {
  private pool: SessionPool | undefined;
  private isEnded = false;

  constructor(
    private readonly source: DataSource,
    private readonly limits: SideLimits,
  ) {}

  /**
   * @throws the error of the server, DatabaseUnavailable without a connection or an answer in time, and an error with
   *   code POOL_CLOSED after `end`
   */
  async query<T = Row[] & Changed>(statement: string, values?: readonly SqlValue[]): Promise<T> {
    if (this.isEnded) throw Object.assign(new Error('the pool has ended'), { code: 'POOL_CLOSED' });
    this.pool ??= this.open();
    return this.pool.query<T>(statement, values).catch((error) => {
      if (!isTimeOver(error)) throw error;
      throw new DatabaseUnavailable(`the server ended a statement after its limit of ${this.limits.limitMs} ms`, error);
    });
  }

  async end(): Promise<void> {
    this.isEnded = true;
    await this.pool?.end();
  }

  private open(): SessionPool {
    const { size, limitMs, names } = this.limits;
    const waits = { acquireMs: limitMs + ANSWER_MARGIN_MS, statementMs: limitMs + ANSWER_MARGIN_MS };
    return poolBeside(this.source, pinsOf(limitMs), { size, queueMax: WAITERS_MAX, idleMs: IDLE_MS, names, ...waits });
  }
}

function isTimeOver(error: unknown): boolean {
  return TIME_IS_OVER.has(errnoOf(error));
}

/** Each server reads its own setting. The setting of the other server is a comment. */
function pinsOf(limitMs: number): string[] {
  const limit = `/*M! SESSION max_statement_time = ${limitMs / 1_000}, */ /*!80000 SESSION max_execution_time = ${limitMs}, */`;
  return [
    ...pinningSql({ lockWaitSeconds: LOCK_WAIT_SECONDS, silenceSeconds: SILENCE_SECONDS }),
    `SET ${limit} SESSION autocommit = 1`,
  ];
}
