import type { DataSource } from 'typeorm';
import { DatabaseUnavailable } from '../errors/errors.js';
import { PoolWatch, watchOf } from './connection-watch.js';
import type { RawConnection } from './raw-connection.js';
import { pinEach } from './session.js';
import { connectionOf, type Waits } from './session-pool.js';

/** TypeORM's driver: every query runner has its connection from here, with replication or without. */
interface Driver {
  obtainMasterConnection(): Promise<RawConnection>;
  obtainSlaveConnection(): Promise<RawConnection>;
}

const guarded = new WeakMap<object, { waits: Waits }>();

/**
 * Watches the connections of a DataSource of the user's. One that leads to a server without writes is closed instead of
 * going back to its pool, and so are all that were opened before: TypeORM would keep them after a switchover.
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

/** How long a DataSource of the user's waits. */
export interface WaitLimits {
  /** For a connection of its pool, in milliseconds. Then the call is `DatabaseUnavailable`. */
  readonly acquireMs?: number;
  /**
   * For the answer to one statement, in milliseconds. Then its connection is closed, and the error is the driver's
   * `PROTOCOL_SEQUENCE_TIMEOUT`. Give it more than the session's lock waits.
   */
  readonly statementMs?: number;
  /**
   * For a sign of life of this process inside a transaction, in whole seconds. Then the server ends the session, and with it
   * the locks of a process that was stopped. Without a number it is the server's `wait_timeout`, eight hours by default. It
   * also ends a transaction that waits for something else than the database for so long. MySQL ends sessions that are idle
   * in the pool as well: give the pool `maxIdle` below its size and a shorter `idleTimeout`.
   */
  readonly silenceSeconds?: number;
}

/**
 * Bounds the waits of a DataSource of your own: the library never does this by itself, since a report may run for an hour.
 * Call it before the application starts, beside `pinSessions`, which bounds the waits for locks.
 * @throws OptionsError for `silenceSeconds` with `replication`, whose pools the driver does not show
 * @example
 *   pinSessions(source);
 *   limitWaits(source, { acquireMs: 5_000, statementMs: 5_000, silenceSeconds: 20 });
 */
export function limitWaits(source: DataSource, { acquireMs, statementMs, silenceSeconds }: WaitLimits): void {
  Object.assign(guardUserPool(source), { waits: { acquireMs, statementMs } });
  if (silenceSeconds !== undefined) pinEach(source, [silenceSql(silenceSeconds)]);
}

/** MariaDB has a limit for sessions in a transaction alone. Each server reads its own comment. */
function silenceSql(seconds: number): string {
  const limit = Number(seconds);
  return (
    `SET @dtx_silence = ${limit} /*M!100300 , SESSION idle_transaction_timeout = ${limit} */ ` +
    `/*!80000 , SESSION wait_timeout = ${limit} */`
  );
}
