import { setTimeout as sleep } from 'node:timers/promises';
import {
  Inject,
  Injectable,
  Logger,
  OnApplicationBootstrap,
  OnApplicationShutdown,
  OnModuleDestroy,
} from '@nestjs/common';
import { DataSource } from 'typeorm';
import { backoffMs } from '../backoff.js';
import { DtxError } from '../errors.js';
import { idTimeMs, newId } from '../gid.js';
import { type CoreOptions } from '../options.js';
import { CORE_OPTIONS } from '../tokens.js';
import { type Migration, migrate } from './schema.js';
import { prepareSessions } from './session.js';
import { isDatabaseAway, isUnavailable } from './sql-errors.js';
import { CommitHooks } from './transaction.js';

const CLOCK_INTERVAL_MS = 30_000;
const PING_LIMIT_MS = 2_000;
const OWN_SILENCE_SECONDS = 8;

/**
 * The app's database as the library sees it: opened in the background and for as long as it takes (an app whose
 * database is away at start stays up and says so), migrated, then announced to all who wait for it. Scans, marks
 * and recovery use a small pool of their own, so that they never wait behind the business for a connection.
 */
@Injectable()
export class Database implements OnApplicationBootstrap, OnModuleDestroy, OnApplicationShutdown {
  readonly hooks = new CommitHooks();
  private readonly logger = new Logger('Database');
  private readonly components: Array<{ component: string; migrations: readonly Migration[] }> = [];
  private readonly listeners: Array<() => void> = [];
  private readonly stopping = new AbortController();
  private opening: Promise<void> = Promise.resolve();
  private clockOffsetMs = 0;
  private isMigrated = false;
  private ownSource: DataSource | undefined;
  ready = false;

  constructor(
    readonly source: DataSource,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {}

  /** The library's own pool. Only valid once ready. */
  get own(): DataSource {
    if (!this.ownSource?.isInitialized)
      throw Object.assign(new Error('the database is not open yet'), { code: 'POOL_NOT_OPEN' });
    return this.ownSource;
  }

  /**
   * Registers a component's schema; call before the application starts.
   * @throws DtxError when the database has been migrated already, or other migrations have the name of this component
   */
  addMigrations(component: string, migrations: readonly Migration[]): void {
    const known = this.components.find((one) => one.component === component);
    // The record of what was applied is kept by name: the versions of one would pass for those of the other.
    if (known && known.migrations !== migrations)
      throw new DtxError(`two components have migrations under the name ${component}: one of them must be renamed`);
    if (this.isMigrated) throw new DtxError(`migrations of ${component} came after the database was migrated`);
    if (!known) this.components.push({ component, migrations });
  }

  /** Calls back once the database is open and migrated; at once if it already is. */
  onReady(listener: () => void): void {
    if (this.ready) listener();
    else this.listeners.push(listener);
  }

  /** Milliseconds since the epoch by the database's clock, as last compared; good for ids and ages, never for claims. */
  nowMs(): number {
    return Date.now() + this.clockOffsetMs;
  }

  /** How long ago an id was made, in milliseconds; undefined for one that does not tell. */
  ageMs(id: string): number | undefined {
    const madeAt = idTimeMs(id);
    return madeAt === undefined ? undefined : this.nowMs() - madeAt;
  }

  newId(): string {
    return newId(this.nowMs());
  }

  /**
   * Whether an error came because the database is away. Asked of the database itself: a handler may throw a refused
   * connection of its own, and that is a failed attempt.
   */
  async isAway(error: unknown): Promise<boolean> {
    if (!isUnavailable(error)) return false;
    const limit = sleep(PING_LIMIT_MS, true, { ref: false });
    return Promise.race([limit, this.ping().then((up) => !up)]);
  }

  /** Whether the database answers. */
  async ping(): Promise<boolean> {
    try {
      await this.own.query('SELECT 1');
      return true;
    } catch {
      return false;
    }
  }

  onApplicationBootstrap(): void {
    this.opening = this.open();
  }

  onModuleDestroy(): void {
    this.stopping.abort();
  }

  async onApplicationShutdown(): Promise<void> {
    await this.opening;
    if (this.ownSource?.isInitialized) await this.ownSource.destroy();
  }

  private async open(): Promise<void> {
    for (let attempt = 1; !this.stopping.signal.aborted; attempt++) {
      try {
        await this.openOnce();
        this.ready = true;
        for (const listener of this.listeners.splice(0)) listener();
        void this.keepClock();
        return;
      } catch (error) {
        const reason = (error as Error).message;
        if (!isDatabaseAway(error)) this.logger.error(`cannot open or migrate the database: ${reason}`);
        else if (attempt % 10 === 1) this.logger.warn(`the database is away, trying on: ${reason}`);
        await sleep(backoffMs(this.options.reconnect, attempt), undefined, { signal: this.stopping.signal }).catch(
          () => {},
        );
      }
    }
  }

  private async openOnce(): Promise<void> {
    const session = { lockWaitSeconds: this.options.lockWaitSeconds };
    prepareSessions(this.source, session);
    if (!this.source.isInitialized) await this.source.initialize();
    this.hooks.attachTo(this.source);
    if (!this.ownSource) {
      this.ownSource = ownPoolOf(this.source, this.options.ownPoolSize);
      // A process that is stopped amid a claim must not keep its row locks: the server takes them back.
      prepareSessions(this.ownSource, { ...session, silenceSeconds: OWN_SILENCE_SECONDS });
    }
    if (!this.ownSource.isInitialized) await this.ownSource.initialize();
    for (const { component, migrations } of this.components) await migrate(this.ownSource, component, migrations);
    this.isMigrated = true;
    await this.readClock();
  }

  private async keepClock(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      await sleep(CLOCK_INTERVAL_MS, undefined, { signal: this.stopping.signal, ref: false }).catch(() => {});
      if (!this.stopping.signal.aborted) await this.readClock().catch(() => {});
    }
  }

  private async readClock(): Promise<void> {
    const before = Date.now();
    const [{ ms }] = await this.own.query(
      `SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) / 1000 AS ms`,
    );
    this.clockOffsetMs = Math.round(Number(ms) - (before + Date.now()) / 2);
  }
}

/** Same server and database, no entities, few connections. */
function ownPoolOf(source: DataSource, size: number): DataSource {
  const options = source.options as unknown as Record<string, unknown>;
  const extra = { ...(options.extra as object | undefined), connectionLimit: size, queueLimit: 10_000 };
  const own = { ...options, entities: [], subscribers: [], migrations: [], synchronize: false, poolSize: size, extra };
  return new DataSource(own as unknown as ConstructorParameters<typeof DataSource>[0]);
}
