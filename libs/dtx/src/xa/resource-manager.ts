import type { DataSource } from 'typeorm';
import { poolBeside, poolOf, type SessionPool } from '../core/database/pinned-session-pool.js';
import { windowsOf } from '../core/database/schema-window.js';
import { pinningSql } from '../core/database/session-settings.js';
import { TableNames } from '../core/database/table-prefix.js';
import { OptionsError } from '../core/errors/errors.js';
import type { CoreOptions } from '../core/options.js';
import { BranchConnection } from './branch-connection.js';
import { type BranchDatabase, branchSource, IDLE_MS } from './branch-database.js';
import { schemaFaults } from './branch-schema.js';
import { FLUSH_COLUMNS, flushFlaw } from './commit-flush-check.js';
import { type Dialect, dialectOf, type Query } from './dialect.js';
import { silenceSecondsOf, type XaOptions } from './options.js';
import { XaUnavailable } from './xa-unavailable.js';

const RECOVERY_POOL = 4;
/**
 * Recovery calls may queue for its few connections. The queue is long, because a full queue says nothing about the
 * database.
 */
const RECOVERY_QUEUE = 10_000;
/** Recovery barely waits for locks. A held lock is its answer. */
const RECOVERY_LOCK_WAIT_SECONDS = 1;
const RECOVERY_SILENCE_SECONDS = 8;
/**
 * A look at the branches is late after this many scan intervals. One scan may wait for a connection and for an answer.
 */
const SCAN_LATE_INTERVALS = 5;
const SCAN_LATE_MS_MIN = 5_000;

/** Entities and connections for transactions in one database. */
export interface Place {
  readonly source: DataSource;
  readonly pool: SessionPool;
}

/** One branch database: a pool for working branches, a small pool for recovery, and the properties of the server. */
export class ResourceManager {
  private schemaProblem = 'is not open yet';
  /** The reason why the server does not list prepared branches, or an empty text. */
  private refusal = '';
  /** Time of the last successful list of prepared branches, by the monotonic clock, and the error since then. */
  private scannedAt = performance.now();
  private scanFailure = '';
  /** Whether the owning app can still remedy every schema problem by a migration. */
  private isBehind = true;
  private dialect: Dialect | undefined;
  private readonly source: DataSource;
  private readonly callTimeoutMs: number;
  private readonly scanLateMs: number;
  private readonly pins: Record<'work' | 'recovery', string[]>;
  private pools: { work: SessionPool; recovery: SessionPool } | undefined;
  private readonly acceptUnflushed: boolean;
  private readonly names: TableNames;

  constructor(
    readonly name: string,
    private readonly database: BranchDatabase,
    { core, options }: { core: CoreOptions; options: XaOptions },
  ) {
    this.callTimeoutMs = options.callTimeoutMs;
    this.scanLateMs = Math.max(SCAN_LATE_MS_MIN, SCAN_LATE_INTERVALS * core.scanIntervalMs);
    this.acceptUnflushed = options.acceptUnflushed;
    this.names = new TableNames(core.tablePrefix);
    this.source = branchSource(name, database, options.concurrencyMax);
    this.pins = {
      work: pinningSql({ lockWaitSeconds: core.lockWaitSeconds, silenceSeconds: silenceSecondsOf(options) }),
      recovery: pinningSql({
        lockWaitSeconds: RECOVERY_LOCK_WAIT_SECONDS,
        silenceSeconds: RECOVERY_SILENCE_SECONDS,
      }),
    };
  }

  /**
   * The reason why no transaction can begin here, or an empty text. Without a list of prepared branches, orphans would
   * stay for ever.
   */
  get problem(): string {
    return [this.schemaProblem, this.refusal].filter(Boolean).join(', ');
  }

  /**
   * The reason why this database is degraded, or an empty text. Also covers a database that does not answer recovery.
   */
  get degradation(): string {
    if (this.problem) return this.problem;
    const ageMs = performance.now() - this.scannedAt;
    if (ageMs < this.scanLateMs) return '';
    const why = this.scanFailure || 'no answer';
    return `was not scanned for ${Math.round(ageMs / 1_000)} s: ${why}`;
  }

  /** Records a failed look of recovery. */
  scanFailed(error: Error): void {
    this.scanFailure = error.message;
    if (error instanceof OptionsError) this.refusal = error.message;
  }

  /**
   * Entities and pool for working branches.
   * @throws XaUnavailable before `open`
   */
  get work(): Place {
    return { source: this.source, pool: this.opened.work };
  }

  private get opened(): { work: SessionPool; recovery: SessionPool } {
    if (!this.pools) throw new XaUnavailable(`${this.name} is not open yet`);
    return this.pools;
  }

  /** Whether vendor and version are known. Recovery may work from then on, whatever the schema is. */
  get isKnown(): boolean {
    return this.dialect !== undefined;
  }

  /** Lock clause of the dialect. Only if `isKnown`. */
  get sharedNowait(): string {
    return this.dialect!.sharedNowait;
  }

  /**
   * Opens the database, or checks it again. Idempotent.
   * @throws OptionsError for a server or schema that cannot be used, XaUnavailable for a schema that its app may still
   *   migrate, and connection errors
   */
  async open(): Promise<Dialect> {
    if (!this.source.isInitialized) await this.source.initialize();
    this.pools ??= {
      work: poolOf(this.source, this.pins.work, this.names),
      recovery: poolBeside(this.source, this.pins.recovery, {
        size: RECOVERY_POOL,
        queueMax: RECOVERY_QUEUE,
        idleMs: IDLE_MS,
        names: this.names,
      }),
    };
    this.dialect ??= await this.readDialect();
    await this.checkSchema();
    if (this.problem) throw this.isBehind ? new XaUnavailable(this.problem) : new OptionsError(this.problem);
    return this.dialect;
  }

  private async readDialect(): Promise<Dialect> {
    const dialect = await this.ask((query) => dialectOf(query));
    this.scannedAt = performance.now();
    return dialect;
  }

  /**
   * Compares the schema of the database with the versions that this program writes to. Also checks the flush settings,
   * which can change at run time.
   */
  async checkSchema(): Promise<void> {
    const versions = await this.ask((query) => query(SCHEMA_SQL)).catch((error) => {
      if (isMissingTable(error)) return [];
      throw error;
    });
    const faults = schemaFaults(this.database.schema ?? {}, windowsOf(versions), this.names);
    this.isBehind = faults.every(({ isBehind }) => isBehind);
    const flaw = this.acceptUnflushed || !versions[0] ? null : flushFlaw(versions[0]);
    if (flaw) this.isBehind = false;
    this.schemaProblem = [...faults.map(({ text }) => text), ...(flaw ? [flaw] : [])].join(', ');
  }

  /**
   * Runs statements of recovery on a session other than the branch's own. A statement that exceeds `callTimeoutMs` ends
   * with its connection.
   */
  async ask<T>(work: (query: Query) => Promise<T>): Promise<T> {
    const session = await BranchConnection.open(this.opened.recovery, {
      withinMs: this.callTimeoutMs,
      limitMs: this.callTimeoutMs,
    });
    try {
      return await work((sql, values) => session.send(sql, values));
    } finally {
      if (session.isSound) session.release('committed');
      else session.destroy();
    }
  }

  /** Lists the prepared branches on a session of `ask`. Only if `isKnown`. */
  list(query: Query): ReturnType<Dialect['recover']> {
    return this.dialect!.recover(query);
  }

  /** Lists every prepared branch of this server, of all clients. */
  async prepared(): ReturnType<Dialect['recover']> {
    const branches = await this.ask((query) => this.list(query));
    this.scannedAt = performance.now();
    this.scanFailure = '';
    this.refusal = '';
    return branches;
  }

  async close(): Promise<void> {
    await this.pools?.recovery.end();
    if (this.source.isInitialized) await this.source.destroy();
  }
}

const NO_SUCH_TABLE = 1146;

/** Whether the table is missing: the owning app has not migrated its database yet, so no branch has worked there. */
export function isMissingTable(error: unknown): boolean {
  return (error as { errno?: number }).errno === NO_SUCH_TABLE;
}

/** All columns, because the table of an earlier release has no `compatible_from`. */
const SCHEMA_SQL = `SELECT *, ${FLUSH_COLUMNS} FROM dtx_schema_version`;
