import type { DataSource } from 'typeorm';
import { z } from 'zod';
import { OptionsError } from '../errors/errors.js';
import { libraryLogger } from '../library-logger.js';
import { parseOptions } from '../options.js';
import { pinningSql } from './session-settings.js';

interface RawConnection {
  query(sql: string, done: (error: Error | null) => void): void;
  destroy(): void;
}
interface RawPool {
  on(event: 'acquire', listener: (connection: RawConnection) => void): void;
}

/** The maximum of `lock_wait_timeout` (manuals of the servers, "Server System Variables"). */
const LOCK_WAIT_SECONDS_MAX = 31_536_000;
const pinOptions = z.strictObject({
  lockWaitSeconds: z.number().int().min(1).max(LOCK_WAIT_SECONDS_MAX).default(3),
});

/**
 * Pins the sessions of your own DataSource to the library settings:
 * - utf8mb4 names
 * - UTC (with `timezone: 'Z'` on the DataSource)
 * - strict mode without NO_BACKSLASH_ESCAPES
 * - READ COMMITTED
 * - short lock waits
 *
 * The library never does this by itself, because dates stored in another zone would be read as other times. Call it
 * before the application starts. Open sessions are pinned before their next statement.
 * @param options.lockWaitSeconds wait of a statement for a row lock or for table metadata. The default is 3
 * @throws OptionsError for a wait that is not a whole number of 1 or more, or for a DataSource with `replication`, whose pools the driver does not expose
 * @example
 *   const source = new DataSource({ type: 'mysql', url, timezone: 'Z', charset: 'utf8mb4', entities });
 *   pinSessions(source);
 */
export function pinSessions(source: DataSource, options: { lockWaitSeconds?: number } = {}): void {
  pinEach(source, pinningSql(parseOptions('pinSessions', pinOptions, options)));
}

/** Pins all sessions, including open ones. A DataSource may already be initialized. */
export function pinEach(source: DataSource, statements: readonly string[]): void {
  if ('replication' in source.options && source.options.replication)
    throw new OptionsError(
      'pinSessions: DataSource option `replication` is not supported; pin each DataSource separately',
    );
  const driver = source.driver as unknown as { connect(): Promise<void>; pool?: RawPool };
  if (driver.pool) pinPool(driver.pool, statements);
  const connect = driver.connect.bind(driver);
  driver.connect = async () => {
    await connect();
    pinPool(driver.pool!, statements);
  };
}

/**
 * Pins each connection when the pool hands it out. mysql2 queues commands per connection, so the pins run before the
 * first statement of the caller. A connection that cannot be pinned is closed, and the statement of the caller fails.
 */
function pinPool(pool: RawPool, statements: readonly string[]): void {
  const pinned = new WeakSet<RawConnection>();
  pool.on('acquire', (connection) => {
    if (pinned.has(connection)) return;
    pinned.add(connection);
    for (const sql of statements) connection.query(sql, (error) => error && giveUp(connection, error));
  });
}

function giveUp(connection: RawConnection, error: Error): void {
  connection.destroy();
  libraryLogger('database').error(`cannot pin a session, closed its connection: ${error.message}`);
}
