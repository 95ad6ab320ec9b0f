import type { DataSource } from 'typeorm';
import { pinningSql } from '../core/database/session.js';
import { poolBeside, poolOf, type SessionPool } from '../core/database/session-pool.js';
import { OptionsError } from '../core/errors/errors.js';
import type { CoreOptions } from '../core/options.js';
import { type BranchDatabase, branchSource, IDLE_MS } from './branch-database.js';
import { type Dialect, dialectOf, FLUSH_COLUMNS, flushFlaw, type Query } from './dialect.js';
import { XaUnavailable } from './errors.js';
import { silenceSecondsOf, type XaOptions } from './options.js';
import { Session } from './session.js';
import { WITNESS } from './xa-tables.js';

const WITNESS_VERSION = 1;
const RECOVERY_POOL = 4;
/** Who waits for one of its few connections waits for a time, whoever else does: a queue that is full says nothing of the database. */
const RECOVERY_QUEUE = 10_000;
/** The recovery does not wait for a lock: whoever holds it is the answer. */
const RECOVERY_LOCK_WAIT_SECONDS = 1;
const RECOVERY_SILENCE_SECONDS = 8;
/** A look is late when several scans have passed. One scan may wait for a connection and for an answer. */
const LOOK_LATE_SCANS = 5;
const LOOK_LATE_AT_LEAST_MS = 5_000;

/** Where a transaction works: whose entities it knows, and whose connections it takes. */
export interface Place {
  readonly source: DataSource;
  readonly pool: SessionPool;
}

/** One branch database: a private pool for branches at work, a small one for the recovery, and what the server is. */
export class Resource {
  private schemaProblem = 'is not open yet';
  /** Why the server does not list prepared branches, or empty. */
  private refusal = '';
  /** When the recovery has last seen what is prepared here, by the steady clock, and why it has not since. */
  private lookedAt = performance.now();
  private lookFailure = '';
  /** Whether all that is wrong with the schema is what its own app has yet to do. */
  private isBehind = true;
  private dialect: Dialect | undefined;
  private readonly source: DataSource;
  private readonly callTimeoutMs: number;
  private readonly lookLateMs: number;
  private readonly pins: Record<'work' | 'recovery', string[]>;
  private pools: { work: SessionPool; recovery: SessionPool } | undefined;
  private readonly acceptUnflushed: boolean;

  constructor(
    readonly name: string,
    private readonly database: BranchDatabase,
    { core, options }: { core: CoreOptions; options: XaOptions },
  ) {
    this.callTimeoutMs = options.callTimeoutMs;
    this.lookLateMs = Math.max(LOOK_LATE_AT_LEAST_MS, LOOK_LATE_SCANS * core.scanIntervalMs);
    this.acceptUnflushed = options.acceptUnflushed;
    this.source = branchSource(name, database, options.concurrencyMax);
    this.pins = {
      work: pinningSql({ lockWaitSeconds: core.lockWaitSeconds, silenceSeconds: silenceSecondsOf(options) }),
      recovery: pinningSql({
        lockWaitSeconds: RECOVERY_LOCK_WAIT_SECONDS,
        silenceSeconds: RECOVERY_SILENCE_SECONDS,
      }),
    };
  }

  /** Why nothing can be begun here, or empty. Without its list of prepared branches an orphan here would stay for ever. */
  get problem(): string {
    return [this.schemaProblem, this.refusal].filter(Boolean).join(', ');
  }

  /** Why this database is not known to be well, or empty: also one that does not answer the recovery. */
  get trouble(): string {
    if (this.problem) return this.problem;
    const ageMs = performance.now() - this.lookedAt;
    if (ageMs < this.lookLateMs) return '';
    const why = this.lookFailure || 'no answer';
    return `was not looked at for ${Math.round(ageMs / 1_000)} s: ${why}`;
  }

  /** The recovery has failed to look at this database. */
  lookFailed(error: Error): void {
    this.lookFailure = error.message;
    if (error instanceof OptionsError) this.refusal = error.message;
  }

  /** Where branches work. Only once it is open. */
  get work(): Place {
    return { source: this.source, pool: this.opened.work };
  }

  private get opened(): { work: SessionPool; recovery: SessionPool } {
    if (!this.pools) throw new XaUnavailable(`${this.name} is not open yet`);
    return this.pools;
  }

  /** True once the server has been asked what it is: from then on the recovery may work here, whatever the schema is. */
  get isKnown(): boolean {
    return this.dialect !== undefined;
  }

  /** Behind a SELECT: see the dialect. Only for one that is known. */
  get sharedNowait(): string {
    return this.dialect!.sharedNowait;
  }

  /**
   * @throws OptionsError for a server or a schema that will not do, XaUnavailable for a schema that its own app may still
   *   bring up to date, and what connecting throws
   */
  async open(): Promise<Dialect> {
    if (!this.source.isInitialized) await this.source.initialize();
    this.pools ??= {
      work: poolOf(this.source, this.pins.work),
      recovery: poolBeside(this.source, this.pins.recovery, {
        size: RECOVERY_POOL,
        queueMax: RECOVERY_QUEUE,
        idleMs: IDLE_MS,
      }),
    };
    this.dialect ??= await this.firstLook();
    await this.checkSchema();
    if (this.problem) throw this.isBehind ? new XaUnavailable(this.problem) : new OptionsError(this.problem);
    return this.dialect;
  }

  private async firstLook(): Promise<Dialect> {
    const dialect = await this.ask((query) => dialectOf(query));
    this.lookedAt = performance.now();
    return dialect;
  }

  /**
   * Looks whether the other app has migrated its database to what this program knows, and not beyond; and whether its
   * server flushes what it commits, which can be changed while it runs.
   */
  async checkSchema(): Promise<void> {
    const wanted = { ...this.database.schema, [WITNESS]: WITNESS_VERSION };
    const versions = await this.ask((query) => query(SCHEMA_SQL)).catch((error) => {
      if (isNoTable(error)) return [];
      throw error;
    });
    const has = new Map(versions.map(({ component, version }) => [String(component), Number(version)]));
    const wrong = Object.entries(wanted).filter(([component, version]) => has.get(component) !== version);
    this.isBehind = wrong.every(([component, version]) => (has.get(component) ?? 0) < version);
    const flaw = this.acceptUnflushed || !versions[0] ? null : flushFlaw(versions[0]);
    if (flaw) this.isBehind = false;
    this.schemaProblem = [
      ...wrong.map(
        ([component, version]) => `has ${component} at version ${has.get(component) ?? 'none'}, not ${version}`,
      ),
      ...(flaw ? [flaw] : []),
    ].join(', ');
  }

  /**
   * Runs statements of the recovery on a session that is not the branch's own. One that does not answer in time is
   * given up with its connection.
   */
  async ask<T>(work: (query: Query) => Promise<T>): Promise<T> {
    const session = await Session.open(this.opened.recovery, {
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

  /** Every prepared branch of this server, whoever has prepared it. */
  async prepared(): ReturnType<Dialect['recover']> {
    const branches = await this.ask((query) => this.dialect!.recover(query));
    this.lookedAt = performance.now();
    this.lookFailure = '';
    this.refusal = '';
    return branches;
  }

  async close(): Promise<void> {
    await this.pools?.recovery.end();
    if (this.source.isInitialized) await this.source.destroy();
  }
}

const NO_SUCH_TABLE = 1146;

/** The app of this database has not migrated it yet: no branch has ever worked here. */
export function isNoTable(error: unknown): boolean {
  return (error as { errno?: number }).errno === NO_SUCH_TABLE;
}

const SCHEMA_SQL = `SELECT component, MAX(version) AS version, ${FLUSH_COLUMNS}
  FROM dtx_schema_version GROUP BY component`;
