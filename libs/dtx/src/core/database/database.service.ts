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
import { backoffMs } from '../async/backoff.js';
import { DatabaseUnavailable, DtxError, textOf } from '../errors/errors.js';
import { isAccountRefused, isDatabaseAway, isStarved, isUnavailable } from '../errors/sql-errors.js';
import { idTimeMs, newId } from '../ids.js';
import { type CoreOptions } from '../options.js';
import { Scans } from '../scan-status.js';
import { CORE_OPTIONS } from '../tokens.js';
import { DatabaseClock } from './clock.js';
import { type Migration, migrateOver } from './migrate.js';
import { openPools, type Pools } from './pools.js';
import type { UserSession } from './session.js';
import type { SessionPool } from './session-pool.js';
import { SidePool } from './side-pool.js';
import type { StrayGuard } from './stray-guard.js';
import { CommitHooks } from './transaction.js';
import { guardUserPool } from './user-pool.js';
import type { WorkTransactions } from './work-transactions.js';

const PING_LIMIT_MS = 2_000;
/** Lists for people: a few at once, each for so long. */
const READS = { size: 2, limitMs: 5_000 };

/**
 * The app's database as the library sees it: opened in the background and for as long as it takes (an app whose
 * database is away at start stays up and says so), migrated, then announced to all who wait for it. The pool of the
 * DataSource is the user's: the library only takes part in transactions that the user begins there. Scans, marks and
 * recovery use a small pool of their own, so that they never wait behind the business for a connection; the transactions
 * that the library begins for the user's code use another one.
 */
@Injectable()
export class Database implements OnApplicationBootstrap, OnModuleDestroy, OnApplicationShutdown {
  readonly hooks: CommitHooks;
  /** When each loop has last completed a scan. */
  readonly scans = new Scans();
  private readonly logger = new Logger('Database');
  private readonly components: Array<{ component: string; migrations: readonly Migration[]; isUsers: boolean }> = [];
  private readonly listeners: Array<() => void> = [];
  private readonly stopping = new AbortController();
  private opening: Promise<void> = Promise.resolve();
  private readonly clock = new DatabaseClock(() => this.own);
  private name = '';
  /** Why it does not open, where that will not pass by itself; empty otherwise. */
  problem = '';
  private pools: Pools | undefined;
  private readonly readers: SidePool;
  private isMigrated = false;
  ready = false;

  constructor(
    readonly source: DataSource,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {
    this.hooks = new CommitHooks(options.handlerTimeoutMs);
    this.readers = new SidePool(source, READS);
  }

  /** The library's own pool: scans, marks and recovery. Only valid once ready. */
  get own(): SessionPool {
    return this.opened.own;
  }

  /** For lists that people ask for and that may read much: beside all other pools. Only valid once migrated. */
  get reads(): SidePool {
    if (!this.isMigrated) throw notOpen();
    return this.readers;
  }

  /** Transactions that the library begins for the user's code. Only valid once ready. */
  get work(): WorkTransactions {
    return this.opened.work;
  }

  /** How many transactions of `work` may be open at once. Only valid once ready. */
  get workSize(): number {
    return this.opened.workSize;
  }

  /** Keeps the user's code on the transaction that it was given. Only valid once ready. */
  get guard(): StrayGuard {
    return this.opened.guard;
  }

  /** What a session of the library's needs so that statements of the user's mean the same there. Only valid once ready. */
  get userSession(): UserSession {
    return this.opened.userSession;
  }

  /**
   * Registers a component's schema; call before the application starts. `isUsers`: its statements are the user's.
   * @throws DtxError when the database has been migrated already, or other migrations have the name of this component
   */
  addMigrations(component: string, migrations: readonly Migration[], { isUsers = false } = {}): void {
    const known = this.components.find((one) => one.component === component);
    // The record of what was applied is kept by name: the versions of one would pass for those of the other.
    if (known && known.migrations !== migrations)
      throw new DtxError(`two components have migrations under the name ${component}: one of them must be renamed`);
    if (this.isMigrated) throw new DtxError(`migrations of ${component} came after the database was migrated`);
    if (!known) this.components.push({ component, migrations, isUsers });
  }

  /** Calls back once the database is open and migrated; at once if it already is. */
  onReady(listener: () => void): void {
    if (this.ready) listener();
    else this.listeners.push(listener);
  }

  /** A table of the library's, for a session whose default database may be another one. */
  tableIn(table: string): string {
    return `\`${this.name.replaceAll('`', '``')}\`.${table}`;
  }

  /**
   * Milliseconds since the epoch by the database's clock, as last read; good for ids and views, never for claims. The
   * clock of this machine may be wrong or jump: it has no part in this.
   */
  nowMs(): number {
    return this.clock.nowMs();
  }

  /** The same, read from the database now: for what is decided by it. */
  async readNowMs(): Promise<number> {
    await this.clock.read();
    return this.nowMs();
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
    // Of another DataSource it is the handler's own affair.
    if (error instanceof DatabaseUnavailable) return error.of === undefined || error.of === this.source;
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
    // A server that is frozen while its tables are looked at must not hold up the stop.
    await Promise.race([this.opening, sleep(this.options.drainMs, undefined, { ref: false })]);
    await Promise.all([this.pools?.own.end(), this.pools?.work.end(), this.readers.end()]);
  }

  private async open(): Promise<void> {
    for (let attempt = 1; !this.stopping.signal.aborted; attempt++) {
      try {
        await this.openOnce();
        this.problem = '';
        this.ready = true;
        for (const listener of this.listeners.splice(0)) listener();
        void this.clock.keep(this.stopping.signal);
        return;
      } catch (error) {
        const reason = textOf(error);
        if (!willPass(error)) this.complain(reason);
        else if (attempt % 10 === 1) this.logger.warn(`cannot open the database, retrying: ${reason}`);
        await sleep(backoffMs(this.options.reconnect, attempt), undefined, { signal: this.stopping.signal }).catch(
          () => {},
        );
      }
    }
  }

  /** Once for each reason: it is tried again, since a person may change the server meanwhile. */
  private complain(reason: string): void {
    if (this.problem === reason) return;
    this.problem = reason;
    this.logger.error(`cannot use the database: ${reason}`);
  }

  private get opened(): Pools {
    if (!this.pools) throw notOpen();
    return this.pools;
  }

  private async openOnce(): Promise<void> {
    if (!this.source.isInitialized) await this.source.initialize();
    this.hooks.attachTo(this.source);
    guardUserPool(this.source);
    this.pools ??= await openPools(this.source, this.hooks, this.options);
    const [row] = await this.own.query('SELECT DATABASE() AS name');
    this.name = String(row!.name);
    for (const component of this.components) await this.migrate(component);
    this.isMigrated = true;
    await this.clock.read();
  }

  /** On a connection that is not used again: what a migration does to its session ends with it. */
  private async migrate({ component, migrations, isUsers }: (typeof this.components)[number]): Promise<void> {
    const { own, workPool } = this.opened;
    const tap = await (isUsers ? workPool : own).acquire();
    try {
      await migrateOver(tap, component, migrations);
    } finally {
      tap.connection.destroy();
    }
  }
}

/** Before the database was open for the first time, a refused account is a wrong setting. */
function willPass(error: unknown): boolean {
  const root = error instanceof DatabaseUnavailable ? error.cause : error;
  return (isDatabaseAway(root) || isStarved(root)) && !isAccountRefused(root);
}

function notOpen(): Error {
  return Object.assign(new Error('the database is not open yet'), { code: 'POOL_NOT_OPEN' });
}
