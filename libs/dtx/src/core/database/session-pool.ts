import type { DataSource } from 'typeorm';
import { DatabaseUnavailable } from '../errors/errors.js';
import { isDatabaseAway, isDeadlock } from '../errors/sql-errors.js';
import { KEEP_ALIVE_MS } from '../keep-alive.js';
import { PoolWatch, watchOf } from './connection-watch.js';
import type { SqlValue } from './literal.js';
import { type Changed, type RawConnection, type Row } from './raw-connection.js';
import type { Sql } from './sql.js';
import { type Tap, tapOf } from './tap.js';

interface RawPool {
  getConnection(done: (error: unknown, connection: RawConnection) => void): void;
  end(done: (error: unknown) => void): void;
}

/** How the driver of a DataSource is reached, in the versions of TypeORM that this library supports. */
export interface Driver {
  readonly mysql: { createPool(options: object): RawPool };
  readonly options: { readonly replication?: { readonly master: object } };
  createConnectionOptions(options: object, credentials: object): Record<string, unknown>;
}

const DEADLOCK_TRIES = 4;
const CONNECT_TIMEOUT_MS = 5_000;

/**
 * A pool of connections whose sessions are the library's own: each is pinned before its first statement, and one that
 * could not be pinned, that leads to a server without writes, or that is in doubt, is closed and not used again.
 */
export class SessionPool implements Sql {
  private readonly pinned = new WeakSet<RawConnection>();
  private readonly watch = new PoolWatch();
  private isEnded = false;

  constructor(
    private readonly pool: RawPool,
    private readonly pins: readonly string[],
    private readonly waits: Waits = {},
  ) {}

  /**
   * A pinned connection. A statement of the library's own on it has `statementMs`, and so has the pinning.
   * @throws DatabaseUnavailable when connecting or pinning fails, or takes too long: nothing has happened
   */
  async acquire(): Promise<Tap> {
    try {
      const get = () => nextIn(this.pool);
      const connection = await connectionOf(get, this.watch, this.waits.acquireMs);
      const tap = tapOf(connection);
      tap.limitMs = this.waits.statementMs ?? 0;
      if (!this.pinned.has(connection)) await this.pin(tap);
      return tap;
    } catch (error) {
      throw new DatabaseUnavailable('cannot get a connection to the database', error);
    }
  }

  private async pin(tap: Tap): Promise<void> {
    try {
      await tap.ask(this.pins.join('; '));
    } catch (error) {
      tap.connection.destroy();
      throw error;
    }
    this.pinned.add(tap.connection);
  }

  async query<T = Row[] & Changed>(statement: string, values?: readonly SqlValue[]): Promise<T> {
    return this.use((tap) => tap.ask<T>(statement, values));
  }

  /** A transaction of the library's own statements, the whole of it again when it was a deadlock's victim. */
  async transaction<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.use((tap) => once(tap, work));
      } catch (error) {
        if (!isDeadlock(error) || attempt >= DEADLOCK_TRIES) throw error;
      }
    }
  }

  async end(): Promise<void> {
    if (this.isEnded) return;
    this.isEnded = true;
    await new Promise<void>((resolve) => this.pool.end(() => resolve()));
  }

  private async use<T>(work: (tap: Tap) => Promise<T>): Promise<T> {
    const tap = await this.acquire();
    try {
      const result = await work(tap);
      tap.release();
      return result;
    } catch (error) {
      if (isDatabaseAway(error) || error instanceof NotRolledBack) tap.connection.destroy();
      else tap.release();
      throw error instanceof NotRolledBack ? error.cause : error;
    }
  }
}

function nextIn(pool: RawPool): Promise<RawConnection> {
  return new Promise((resolve, reject) =>
    pool.getConnection((error, given) => (error ? reject(error) : resolve(given))),
  );
}

/** The connection still has its transaction, or nobody knows. */
class NotRolledBack extends Error {}

async function once<T>(tap: Tap, work: (sql: Sql) => Promise<T>): Promise<T> {
  await tap.ask('START TRANSACTION');
  try {
    const result = await work({ query: (statement, values) => tap.ask(statement, values) });
    await tap.ask('COMMIT');
    return result;
  } catch (error) {
    await tap.ask('ROLLBACK').catch(() => {
      throw new NotRolledBack('', { cause: error });
    });
    throw error;
  }
}

/** How long to wait, in milliseconds; without a number, as long as it takes. */
export interface Waits {
  /** For a connection. */
  readonly acquireMs?: number;
  /** For the answer to one statement of the library's own. Then its connection is closed. */
  readonly statementMs?: number;
}

/** A connection of a pool that is good. Those that were condemned while they were idle are closed on the way. */
export async function connectionOf(get: Get, watch: PoolWatch, acquireMs = 0): Promise<RawConnection> {
  for (const endsAt = performance.now() + acquireMs; ; ) {
    const leftMs = acquireMs > 0 ? Math.max(1, endsAt - performance.now()) : 0;
    const connection = await nextOf(get, leftMs, acquireMs);
    if (!watchOf(connection, watch).isUseless) return connection;
    connection.destroy();
  }
}

type Get = () => Promise<RawConnection>;

/** One that comes too late is for whoever waits next. */
async function nextOf(get: Get, leftMs: number, limitMs: number): Promise<RawConnection> {
  const coming = get();
  if (leftMs === 0) return coming;
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, leftMs, null);
  });
  const given = await Promise.race([coming, limit]).finally(() => clearTimeout(timer));
  if (given) return given;
  coming.then(
    (late) => late.release(),
    () => {},
  );
  throw Object.assign(new Error(`no connection within ${limitMs} ms`), { code: 'POOL_ACQUIRE_TIMEOUT' });
}

/** What a pool of the library's needs to know of the user's to reach the same database in the same way. */
const ADDRESS = [
  'host', 'port', 'user', 'password', 'password1', 'password2', 'password3', 'passwordSha1', 'database', 'socketPath',
  'ssl', 'localAddress', 'stream', 'insecureAuth', 'enableCleartextPlugin', 'authPlugins', 'authSwitchHandler',
  'connectAttributes', 'compress', 'connectTimeout', 'enableKeepAlive', 'keepAliveInitialDelay',
]; // biome-ignore format: a list of words

/** A pool with the address of a DataSource and nothing else of it. */
export function poolBeside(source: DataSource, pins: readonly string[], limits: Limits): SessionPool {
  const given = connectionOptionsOf(source);
  const address = Object.fromEntries(ADDRESS.filter((key) => given[key] !== undefined).map((key) => [key, given[key]]));
  return new SessionPool(rawPool(source, address, limits), pins, limits);
}

/** The pool of a DataSource that is the library's own. */
export function poolOf(source: DataSource, pins: readonly string[]): SessionPool {
  return new SessionPool((source.driver as unknown as { pool: RawPool }).pool, pins);
}

/** A pool that reads and writes values as the DataSource does: for statements of the user's. */
export function poolLike(source: DataSource, pins: readonly string[], limits: Limits): SessionPool {
  return new SessionPool(rawPool(source, connectionOptionsOf(source), limits), pins, limits);
}

export interface Limits extends Waits {
  /** Connections at the most. */
  readonly size: number;
  /** Callers that wait for one. */
  readonly queueMax: number;
  /** A connection that has been idle for so long is closed, before the server would end it for its silence. */
  readonly idleMs?: number;
}

/** Several statements go in one round trip. A reset would undo the pins, and on MariaDB lose a prepared branch. */
function rawPool(source: DataSource, options: object, { size, queueMax, idleMs }: Limits): RawPool {
  const { mysql } = source.driver as unknown as Driver;
  return mysql.createPool({
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
    ...options,
    multipleStatements: true,
    resetOnRelease: false,
    waitForConnections: true,
    connectionLimit: size,
    queueLimit: queueMax,
    ...(idleMs ? { maxIdle: size - 1, idleTimeout: idleMs } : { maxIdle: size }),
  });
}

/** As the driver itself gives them to mysql2. */
export function connectionOptionsOf(source: DataSource): Record<string, unknown> {
  const driver = source.driver as unknown as Driver;
  const { options } = driver;
  const given = driver.createConnectionOptions(options, options.replication?.master ?? options);
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}
