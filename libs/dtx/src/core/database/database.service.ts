import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, OnApplicationBootstrap, OnApplicationShutdown, OnModuleDestroy } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import { DATA_SOURCE } from '../app-data-source.js';
import { backoffMs } from '../async/backoff.js';
import { DatabaseUnavailable, DtxError, textOf } from '../errors/errors.js';
import { isUnavailable } from '../errors/sql-errors.js';
import { idTimeMs, newId } from '../ids.js';
import { CORE_OPTIONS } from '../injection-tokens.js';
import { libraryLogger } from '../library-logger.js';
import { type CoreOptions } from '../options.js';
import { Scans } from '../scan-status.js';
import { DatabaseClock } from './clock.js';
import { CommitHooks } from './commit-hooks.js';
import { openPools, type Pools } from './library-pools.js';
import type { Migration } from './migrate.js';
import { notOpen, openDataSource, willPass } from './open-data-source.js';
import type { SessionPool } from './pinned-session-pool.js';
import { SchemaOwner } from './schema-owner.js';
import type { UserSession } from './session-settings.js';
import { SidePool } from './slow-read-pool.js';
import { isAnswered } from './sql-executor.js';
import type { StrayGuard } from './stray-statement-guard.js';
import { TableNames } from './table-prefix.js';
import type { WorkTransactions } from './transactions-for-user-code.js';
import { guardUserPool } from './user-pool-watch.js';
import { WRITE_PROBE_LIMIT_MS, WriteProbe } from './write-probe.js';

/** The pool for lists of operators: few connections with a time limit per statement in milliseconds. */
const READS = { size: 2, limitMs: 5_000 };

/**
 * The database of the app. It opens in the background with retries, migrates, and then calls its listeners. An app
 * whose database is unavailable at start keeps running. The pool of the DataSource belongs to the user, and the library
 * only joins transactions there. Scans, marks and recovery use a small pool of their own, so they never wait for
 * business connections. Transactions that the library starts for user code use a third pool (docs/sessions.md).
 * @example
 *   await this.database.untilReady(); // in a script, or in `onApplicationBootstrap`
 */
@Injectable()
export class Database implements OnApplicationBootstrap, OnModuleDestroy, OnApplicationShutdown {
  readonly hooks: CommitHooks;
  /** The table names of this installation (option `tablePrefix`). */
  readonly names: TableNames;
  /** The scans of all loops, for readiness and metrics. */
  readonly scans = new Scans();
  private readonly logger = libraryLogger('database');
  private readonly schema: SchemaOwner;
  private readonly listeners: Array<() => void> = [];
  private readonly stopping = new AbortController();
  private opening: Promise<void> | undefined;
  private readonly clock = new DatabaseClock(() => this.own);
  private name = '';
  /** The permanent reason why the database does not open. Empty otherwise. */
  problem = '';
  private pools: Pools | undefined;
  private readonly readers: SidePool;
  private readonly probes: SidePool;
  private readonly writeProbe: WriteProbe;
  ready = false;

  /** @internal */
  constructor(
    @Inject(DATA_SOURCE) readonly source: DataSource,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {
    this.hooks = new CommitHooks(options.handlerTimeoutMs);
    this.schema = new SchemaOwner(options.migrate);
    this.names = new TableNames(options.tablePrefix);
    this.readers = new SidePool(source, { ...READS, names: this.names });
    this.probes = new SidePool(source, { size: 1, limitMs: WRITE_PROBE_LIMIT_MS, names: this.names });
    this.writeProbe = new WriteProbe(this.probes);
  }

  /** The own pool of the library: scans, marks and recovery. Valid once ready. */
  get own(): SessionPool {
    return this.opened.own;
  }

  /** The pool for large lists of operators, separate from all other pools. Valid once migrated. */
  get reads(): SidePool {
    if (!this.schema.isUpToDate) throw notOpen();
    return this.readers;
  }

  /** The transactions that the library starts for user code. Valid once ready. */
  get work(): WorkTransactions {
    return this.opened.work;
  }

  /** The maximum number of open transactions of `work`. Valid once ready. */
  get workSize(): number {
    return this.opened.workSize;
  }

  /** Keeps user code inside its transaction. Valid once ready. */
  get guard(): StrayGuard {
    return this.opened.guard;
  }

  /** The session settings that give statements of the user the same meaning on a library session. Valid once ready. */
  get userSession(): UserSession {
    return this.opened.userSession;
  }

  /**
   * Registers the schema of a component before the application starts. `isUsers`: the statements belong to the user.
   * @throws DtxError if the database is already migrated, or if the component name is taken by other migrations
   */
  addMigrations(component: string, migrations: readonly Migration[], { isUsers = false } = {}): void {
    this.schema.add(component, migrations, isUsers);
  }

  /** Calls the listener when the database is open and migrated, or at once if it already is. */
  onReady(listener: () => void): void {
    if (this.ready) listener();
    else this.listeners.push(listener);
  }

  /**
   * Resolves when the database is open and migrated: for a script, and for work at the start. Not in `onModuleInit`, where
   * modules still register their tables.
   * @throws DtxError when the application stops before
   */
  async untilReady(): Promise<void> {
    this.start();
    const { signal } = this.stopping;
    if (!this.ready && !signal.aborted)
      await Promise.race([new Promise<void>((resolve) => this.onReady(resolve)), once(signal, 'abort')]);
    if (!this.ready) throw new DtxError(`the application stopped before its database was open: ${this.problem}`);
  }

  /**
   * A library table with its database name, by its name in the code. For sessions of the user, which may have another
   * default database and do not translate names.
   * @throws Error as of an unavailable database, before it is open and migrated
   */
  tableIn(table: string): string {
    if (!this.schema.isUpToDate) throw notOpen();
    return `\`${this.name.replaceAll('`', '``')}\`.${this.names.inDatabase(table)}`;
  }

  /** The database time in milliseconds since the epoch, as last read. For ids and views, not for claims. */
  nowMs(): number {
    return this.clock.nowMs();
  }

  /** Reads the database time now, for decisions that depend on it. */
  async readNowMs(): Promise<number> {
    await this.clock.read();
    return this.nowMs();
  }

  /** The age of an id in milliseconds. Undefined for an id without a time. */
  ageMs(id: string): number | undefined {
    const madeAt = idTimeMs(id);
    return madeAt === undefined ? undefined : this.nowMs() - madeAt;
  }

  /** Creates an id, a UUID v7 with the database time as last read. */
  newId(): string {
    return newId(this.nowMs());
  }

  /**
   * Whether the database caused an error by being unavailable or by taking no writes. A look at the database decides,
   * because a handler may throw a refused connection of its own. That is a failed attempt.
   */
  async isAway(error: unknown): Promise<boolean> {
    // An unavailable other DataSource is a handler failure.
    if (error instanceof DatabaseUnavailable) return error.of === undefined || error.of === this.source;
    return isUnavailable(error) && (await this.writeProblem()) !== '';
  }

  /** The reason why the database takes no writes now, or an empty text. Resolves within a few seconds. */
  writeProblem(): Promise<string> {
    return this.writeProbe.problem();
  }

  /** Whether the database answers, also one that takes no writes. */
  async ping(): Promise<boolean> {
    return this.pools !== undefined && isAnswered(this.pools.own.query('SELECT 1'));
  }

  onApplicationBootstrap(): void {
    this.start();
  }

  /** Opens the database in the background. Later calls do nothing. */
  start(): void {
    this.opening ??= this.open();
  }

  onModuleDestroy(): void {
    this.stopping.abort();
  }

  async onApplicationShutdown(): Promise<void> {
    // A server that hangs during the migration must not delay the stop.
    await Promise.race([this.opening, sleep(this.options.drainMs, undefined, { ref: false })]);
    await Promise.all([this.pools?.own.end(), this.pools?.work.end(), this.readers.end(), this.probes.end()]);
  }

  private async open(): Promise<void> {
    const { signal } = this.stopping;
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        await this.openOnce();
        // The listeners would begin work that is not stopped any more.
        if (signal.aborted) return;
        this.problem = '';
        this.ready = true;
        for (const listener of this.listeners.splice(0)) listener();
        void this.clock.keep(signal);
        return;
      } catch (error) {
        const reason = textOf(error);
        if (!willPass(error)) this.complain(reason);
        else if (attempt % 10 === 1) this.logger.warn(`cannot open the database, retrying: ${reason}`);
        await sleep(backoffMs(this.options.reconnect, attempt), undefined, { signal }).catch(() => {});
      }
    }
  }

  /** Logs each reason once. The open is retried, because an operator may correct the server. */
  private complain(reason: string): void {
    if (this.problem !== reason) this.logger.error(`cannot use the database, retrying: ${reason}`);
    this.problem = reason;
  }

  private get opened(): Pools {
    if (!this.pools) throw notOpen();
    return this.pools;
  }

  private async openOnce(): Promise<void> {
    if (!this.source.isInitialized) await openDataSource(this.source);
    this.hooks.attachTo(this.source);
    guardUserPool(this.source);
    this.pools ??= await openPools(this.source, this, this.options);
    const [row] = await this.own.query('SELECT DATABASE() AS name');
    this.name = String(row!.name);
    await this.schema.bringUpToDate(this.opened);
    await this.clock.read();
  }
}
