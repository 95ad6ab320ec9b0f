import type { DataSource } from 'typeorm';
import { DatabaseUnavailable } from '../errors/errors.js';
import { endsConnection, isDeadlock } from '../errors/sql-errors.js';
import { KEEP_ALIVE_MS } from '../tcp-keep-alive.js';
import { watchOf } from './connection-watch.js';
import { type Tap, tapOf } from './intercepted-connection.js';
import { type Changed, type RawConnection, type Row } from './mysql2-types.js';
import { PoolWatch } from './pool-renewal.js';
import type { Sql } from './sql-executor.js';
import type { SqlValue } from './sql-literals.js';
import { DEFAULT_NAMES, type TableNames } from './table-prefix.js';

interface RawPool {
  getConnection(done: (error: unknown, connection: RawConnection) => void): void;
  end(done: (error: unknown) => void): void;
}

/** The TypeORM driver, in the supported versions of TypeORM. */
export interface Driver {
  readonly mysql: { createPool(options: object): RawPool };
  readonly options: { readonly replication?: { readonly master: object } };
  createConnectionOptions(options: object, credentials: object): Record<string, unknown>;
}

const DEADLOCK_TRIES = 4;
const CONNECT_TIMEOUT_MS = 5_000;

/**
 * A pool of library sessions. Each connection is pinned before its first statement: the settings that the protocols need
 * are set (docs/sessions.md), so that no default of a server changes the meaning of a statement. A connection that cannot
 * be pinned, that leads to a server without writes, or that is in doubt, is closed.
 */
export class SessionPool implements Sql {
  private readonly pinned = new WeakSet<RawConnection>();
  private readonly watch = new PoolWatch();
  private isEnded = false;

  constructor(
    private readonly pool: RawPool,
    private readonly pins: readonly string[],
    private readonly waits: Waits = {},
    private readonly names: TableNames = DEFAULT_NAMES,
  ) {}

  /**
   * Returns a pinned connection. Each library statement on it has `statementMs`, including the pinning.
   * @throws DatabaseUnavailable if connecting or pinning fails or takes too long. Nothing happened.
   */
  async acquire(): Promise<Tap> {
    try {
      const get = () => nextIn(this.pool);
      const connection = await connectionOf(get, this.watch, this.waits.acquireMs);
      const tap = tapOf(connection);
      tap.limitMs = this.waits.statementMs ?? 0;
      tap.names = this.names;
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

  /** Runs a transaction of library statements, again as a whole after a deadlock. */
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
      if (endsConnection(error) || error instanceof NotRolledBack) tap.connection.destroy();
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

/** The ROLLBACK was not answered. The connection may still have its transaction. */
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

/** Wait limits in milliseconds. Undefined: no limit. */
export interface Waits {
  /** The wait for a connection. */
  readonly acquireMs?: number;
  /** The wait for the answer to one library statement. Afterwards its connection is closed. */
  readonly statementMs?: number;
}

/** Returns a usable connection of a pool. Connections that were condemned while idle are closed. */
export async function connectionOf(get: Get, watch: PoolWatch, acquireMs = 0): Promise<RawConnection> {
  for (const endsAt = performance.now() + acquireMs; ; ) {
    const leftMs = acquireMs > 0 ? Math.max(1, endsAt - performance.now()) : 0;
    const connection = await nextOf(get, leftMs, acquireMs);
    if (!watchOf(connection, watch).isUseless) return connection;
    connection.destroy();
  }
}

type Get = () => Promise<RawConnection>;

/** Waits for a connection. A late connection returns to the pool. */
function nextOf(get: Get, leftMs: number, limitMs: number): Promise<RawConnection> {
  if (leftMs === 0) return get();
  return new Promise((resolve, reject) => {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      reject(Object.assign(new Error(`no connection within ${limitMs} ms`), { code: 'POOL_ACQUIRE_TIMEOUT' }));
    }, leftMs);
    get().then(
      (connection) => {
        clearTimeout(timer);
        if (isLate) connection.release();
        else resolve(connection);
      },
      (error) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

/** The options that a library pool copies from the user pool, to reach the same database in the same way. */
const ADDRESS = [
  'host', 'port', 'user', 'password', 'password1', 'password2', 'password3', 'passwordSha1', 'database', 'socketPath',
  'ssl', 'localAddress', 'stream', 'insecureAuth', 'enableCleartextPlugin', 'authPlugins', 'authSwitchHandler',
  'connectAttributes', 'compress', 'connectTimeout', 'enableKeepAlive', 'keepAliveInitialDelay',
]; // biome-ignore format: a list of words

/** Opens a pool with the address of a DataSource and no other option of it. */
export function poolBeside(source: DataSource, pins: readonly string[], limits: Limits): SessionPool {
  const given = connectionOptionsOf(source);
  const address = Object.fromEntries(ADDRESS.filter((key) => given[key] !== undefined).map((key) => [key, given[key]]));
  return new SessionPool(rawPool(source, address, limits), pins, limits, limits.names);
}

/** Wraps the pool of a DataSource that belongs to the library. */
export function poolOf(source: DataSource, pins: readonly string[], names: TableNames): SessionPool {
  return new SessionPool((source.driver as unknown as { pool: RawPool }).pool, pins, {}, names);
}

/** Opens a pool that reads and writes values as the DataSource does, for statements of the user. */
export function poolLike(source: DataSource, pins: readonly string[], limits: Limits): SessionPool {
  return new SessionPool(rawPool(source, connectionOptionsOf(source), limits), pins, limits, limits.names);
}

export interface Limits extends Waits {
  /** The maximum number of connections. */
  readonly size: number;
  /** The maximum number of waiting callers. */
  readonly queueMax: number;
  /** The idle time in milliseconds before a connection is closed. Shorter than the silence limit of the server. */
  readonly idleMs?: number;
  /** The table names in library statements. */
  readonly names?: TableNames;
}

/**
 * Creates the pool. Several statements share a round trip. A reset on release would undo the pins, and lose a prepared
 * branch on MariaDB.
 */
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

/** The connection options as TypeORM passes them to mysql2. */
export function connectionOptionsOf(source: DataSource): Record<string, unknown> {
  const driver = source.driver as unknown as Driver;
  const { options } = driver;
  const given = driver.createConnectionOptions(options, options.replication?.master ?? options);
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}
