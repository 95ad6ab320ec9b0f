import type { DataSource } from 'typeorm';
import { DatabaseUnavailable } from '../errors/errors.js';
import { watchOf } from './connection-watch.js';
import type { RawConnection } from './mysql2-types.js';
import { connectionOf, type Waits } from './pinned-session-pool.js';
import { PoolWatch } from './pool-renewal.js';

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
