import { DataSource, type EntityTarget, type ObjectLiteral } from 'typeorm';
import { prepareSessions } from '../core/database/session.js';
import { OptionsError } from '../core/errors.js';
import type { CoreOptions } from '../core/options.js';
import { type Dialect, dialectOf, type Query } from './dialect.js';
import { XaUnavailable } from './errors.js';
import { silenceSecondsOf, type XaOptions } from './options.js';
import { WITNESS } from './schema.js';
import { Session } from './session.js';

/** A database that takes part as a branch: another app's, which migrates it itself. */
export interface BranchDatabase {
  readonly url: string;
  /** What the managers of its branches know. */
  readonly entities?: readonly EntityTarget<ObjectLiteral>[];
  /** Its schema as this program writes to it: the very version of each component, or nothing is written. */
  readonly schema?: Readonly<Record<string, number>>;
}

const WITNESS_VERSION = 1;
const CONNECT_TIMEOUT_MS = 5_000;
const IDLE_MS = 2_000;
const RECOVERY_POOL = 4;
/** Who waits for one of its few connections waits for a time, whoever else does: a queue that is full says nothing of the database. */
const RECOVERY_QUEUE = 10_000;
/** The recovery does not wait for a lock: whoever holds it is the answer. */
const RECOVERY_LOCK_WAIT_SECONDS = 1;
const RECOVERY_SILENCE_SECONDS = 8;

/** One branch database: a private pool for branches at work, a small one for the recovery, and what the server is. */
export class Resource {
  /** Why nothing can be begun here, or empty. */
  problem = 'is not open yet';
  /** Whether all that is wrong with the schema is what its own app has yet to do. */
  private isBehind = true;
  private dialect: Dialect | undefined;
  readonly work: DataSource;
  private readonly recovery: DataSource;
  private readonly callTimeoutMs: number;

  constructor(
    readonly name: string,
    private readonly database: BranchDatabase,
    { core, options }: { core: CoreOptions; options: XaOptions },
  ) {
    const url = { type: 'mysql', url: database.url, timezone: 'Z', charset: 'utf8mb4' };
    this.callTimeoutMs = options.callTimeoutMs;
    this.work = privatePool(url, { entities: database.entities ?? [], size: options.concurrencyMax });
    prepareSessions(this.work, {
      lockWaitSeconds: core.lockWaitSeconds,
      silenceSeconds: silenceSecondsOf(options),
    });
    this.recovery = privatePool(url, { entities: [], size: RECOVERY_POOL, queueMax: RECOVERY_QUEUE });
    prepareSessions(this.recovery, {
      lockWaitSeconds: RECOVERY_LOCK_WAIT_SECONDS,
      silenceSeconds: RECOVERY_SILENCE_SECONDS,
    });
  }

  /** True once the server has been asked what it is: from then on the recovery may work here, whatever the schema is. */
  get isKnown(): boolean {
    return this.dialect !== undefined;
  }

  /**
   * @throws OptionsError for a server or a schema that will not do, XaUnavailable for a schema that its own app may still
   *   bring up to date, and what connecting throws
   */
  async open(): Promise<Dialect> {
    for (const pool of [this.recovery, this.work]) if (!pool.isInitialized) await pool.initialize();
    this.dialect ??= await this.ask((query) => dialectOf(query));
    await this.checkSchema();
    if (this.problem) throw this.isBehind ? new XaUnavailable(this.problem) : new OptionsError(this.problem);
    return this.dialect;
  }

  /** Looks whether the other app has migrated its database to what this program knows, and not beyond. */
  async checkSchema(): Promise<void> {
    const wanted = { ...this.database.schema, [WITNESS]: WITNESS_VERSION };
    const versions = await this.ask((query) => query(SCHEMA_SQL)).catch((error) => {
      if ((error as { errno?: number }).errno === NO_SUCH_TABLE) return [];
      throw error;
    });
    const has = new Map(versions.map(({ component, version }) => [String(component), Number(version)]));
    const wrong = Object.entries(wanted).filter(([component, version]) => has.get(component) !== version);
    this.isBehind = wrong.every(([component, version]) => (has.get(component) ?? 0) < version);
    this.problem = wrong
      .map(([component, version]) => `has ${component} at version ${has.get(component) ?? 'none'}, not ${version}`)
      .join(', ');
  }

  /**
   * Runs statements of the recovery on a session that is not the branch's own. One that does not answer in time is
   * given up with its connection.
   */
  async ask<T>(work: (query: Query) => Promise<T>): Promise<T> {
    const session = await Session.open(this.recovery, { withinMs: this.callTimeoutMs, limitMs: this.callTimeoutMs });
    try {
      return await work((sql, values) => session.send(sql, values));
    } finally {
      if (session.isSound) session.release();
      else session.destroy();
    }
  }

  /** Every prepared branch of this server, whoever has prepared it. */
  prepared(): ReturnType<Dialect['recover']> {
    return this.ask((query) => this.dialect!.recover(query));
  }

  async close(): Promise<void> {
    for (const pool of [this.work, this.recovery]) if (pool.isInitialized) await pool.destroy();
  }
}

const NO_SUCH_TABLE = 1146;
const SCHEMA_SQL = 'SELECT component, MAX(version) AS version FROM dtx_schema_version GROUP BY component';

/**
 * A pool that only XA uses. Several statements may go in one round trip: what is joined are literals of this library.
 * Connections that have nothing to do are closed before the server would end them for their silence, and none is ever
 * reset: on MariaDB a reset loses a prepared branch without a word.
 */
export function privatePool(
  options: Record<string, unknown>,
  { entities, size, queueMax = size }: { entities: unknown; size: number; queueMax?: number },
): DataSource {
  const extra = {
    connectTimeout: CONNECT_TIMEOUT_MS,
    ...(options.extra as object | undefined),
    connectionLimit: size,
    queueLimit: queueMax,
    maxIdle: size - 1,
    idleTimeout: IDLE_MS,
    resetOnRelease: false,
    multipleStatements: true,
  };
  const own = { ...options, entities, subscribers: [], migrations: [], synchronize: false, poolSize: size, extra };
  return new DataSource(own as unknown as ConstructorParameters<typeof DataSource>[0]);
}
