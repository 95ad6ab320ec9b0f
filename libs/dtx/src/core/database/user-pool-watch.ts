import type { DataSource } from 'typeorm';
import { DatabaseUnavailable } from '../errors/errors.js';
import { watchOf } from './connection-watch.js';
import type { RawConnection } from './mysql2-types.js';
import { connectionOf, type Waits } from './pinned-session-pool.js';
import { pinEach } from './session-settings.js';
import { PoolWatch } from './switchover-watch.js';

/** The TypeORM driver. Every query runner gets its connection here, with or without replication. */
interface Driver {
  obtainMasterConnection(): Promise<RawConnection>;
  obtainSlaveConnection(): Promise<RawConnection>;
}

const guarded = new WeakMap<object, { waits: Waits }>();

/**
 * Watches the connections of a user DataSource. A connection to a server without writes is closed instead of returning
 * to its pool, and so are all earlier ones. TypeORM would keep them after a switchover.
 */
export function guardUserPool(source: DataSource): { waits: Waits } {
  const driver = source.driver as unknown as Driver;
  const there = guarded.get(driver);
  if (there) return there;
  const state: { waits: Waits } = { waits: {} };
  guarded.set(driver, state);
  for (const name of ['obtainMasterConnection', 'obtainSlaveConnection'] as const) {
    const pool = new PoolWatch();
    const obtain = driver[name].bind(driver);
    driver[name] = async () => {
      const { acquireMs, statementMs = 0 } = state.waits;
      try {
        const connection = await connectionOf(obtain, pool, acquireMs);
        watchOf(connection, pool).statementMs = statementMs;
        return connection;
      } catch (error) {
        throw new DatabaseUnavailable('cannot get a connection to the database', error, source);
      }
    };
  }
  return state;
}

/** The wait limits of a user DataSource. */
export interface WaitLimits {
  /** The wait for a pooled connection in milliseconds. Afterwards the call fails with `DatabaseUnavailable`. */
  readonly acquireMs?: number;
  /**
   * The wait for the answer to one statement in milliseconds. Afterwards its connection is closed and the error is
   * `PROTOCOL_SEQUENCE_TIMEOUT` of the driver. The limit must exceed the lock waits of the session.
   */
  readonly statementMs?: number;
  /**
   * The silence inside a transaction in whole seconds, after which the server ends the session and its locks. Frees the
   * locks of a stopped process. The default is `wait_timeout` of the server, eight hours. It also ends a transaction
   * that waits for another service for so long. MySQL also ends idle pooled sessions, so set `maxIdle` below the pool
   * size and a shorter `idleTimeout`.
   */
  readonly silenceSeconds?: number;
}

/**
 * Limits the waits of your own DataSource. The library never does this by itself, because a report may run for an hour.
 * Call it before the application starts, beside `pinSessions`, which limits the lock waits.
 * @throws OptionsError for `silenceSeconds` with `replication`, whose pools the driver does not expose
 * @example
 *   pinSessions(source);
 *   limitWaits(source, { acquireMs: 5_000, statementMs: 5_000, silenceSeconds: 20 });
 */
export function limitWaits(source: DataSource, { acquireMs, statementMs, silenceSeconds }: WaitLimits): void {
  Object.assign(guardUserPool(source), { waits: { acquireMs, statementMs } });
  if (silenceSeconds !== undefined) pinEach(source, [silenceSql(silenceSeconds)]);
}

/** MariaDB limits only sessions in a transaction. Each server reads its own comment. */
function silenceSql(seconds: number): string {
  const limit = Number(seconds);
  return (
    `SET @dtx_silence = ${limit} /*M!100300 , SESSION idle_transaction_timeout = ${limit} */ ` +
    `/*!80000 , SESSION wait_timeout = ${limit} */`
  );
}
