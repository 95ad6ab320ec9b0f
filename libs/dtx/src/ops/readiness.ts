import { Inject, Injectable, OnApplicationShutdown, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Broker } from '../core/broker/broker.service.js';
import { RedisClaims } from '../core/consumer/redis-claims.js';
import { Database } from '../core/database/database.service.js';
import type { Migration } from '../core/database/migrate.js';
import { SidePool } from '../core/database/slow-read-pool.js';
import { type Condition, Conditions } from '../core/dependency-health-registry.js';
import { isDeadlock } from '../core/errors/sql-errors.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { libraryLogger } from '../core/library-logger.js';
import type { CoreOptions } from '../core/options.js';
import { Probe } from './cached-health-probe.js';
import { OPS_OPTIONS, type OpsOptions } from './options.js';
import { ProblemLog } from './problem-log.js';

/** Time limit of the check of Redis. It is short, since an unavailable Redis only degrades the instance. */
const REDIS_LIMIT_MS = 800;
const WATCH_EVERY_MS = 1_000;
const OWN_DATABASE = 'own database';

export const probeMigrations: Migration[] = [
  {
    version: 1,
    name: 'readiness: one row per app, written to see whether the database takes writes',
    up: [
      `CREATE TABLE IF NOT EXISTS dtx_probe (
        app VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        at DATETIME(3) NOT NULL
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
    ],
  },
];

/** `refusal` is the reason to send no work here, or null. `reasons` maps each degraded name to its reason. */
export interface Ready {
  readonly refusal: string | null;
  readonly reasons: Readonly<Record<string, string>>;
}

/**
 * Readiness of this instance. It is ready while its own database accepts writes and it is not stopping. Any other problem
 * only degrades it, with a name, a reason and one log line per change.
 * @example
 *   const { refusal, reasons } = await this.readiness.look(); // refusal is null while the instance is ready
 */
@Injectable()
export class Readiness implements OnModuleInit, OnModuleDestroy, OnApplicationShutdown {
  private readonly pool: SidePool;
  private readonly database: Probe;
  private readonly redis: Probe;
  private readonly log = new ProblemLog(libraryLogger('readiness'));
  private timer: NodeJS.Timeout | undefined;
  private readonly stopped = new AbortController();

  /** @internal */
  constructor(
    private readonly db: Database,
    private readonly broker: Broker,
    private readonly claims: RedisClaims,
    private readonly conditions: Conditions,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(OPS_OPTIONS) private readonly options: OpsOptions,
  ) {
    const { probeFreshMs: freshMs, probeLimitMs: limitMs } = options;
    this.pool = new SidePool(db.source, { size: 1, limitMs, names: db.names });
    this.database = new Probe(() => this.write(), { freshMs, limitMs });
    this.redis = new Probe(() => this.claims.probe(`${core.queuePrefix}:ready:${core.app}`), {
      freshMs,
      limitMs: REDIS_LIMIT_MS,
    });
  }

  onModuleInit(): void {
    this.db.addMigrations('dtx-ready', probeMigrations);
    this.timer = setInterval(() => this.log.tell(textsOf(this.found())), WATCH_EVERY_MS).unref();
  }

  onModuleDestroy(): void {
    this.stop();
    clearInterval(this.timer);
  }

  async onApplicationShutdown(): Promise<void> {
    await this.pool.end();
  }

  /** Makes this instance not ready. Call it on the stop signal, before anything is closed. */
  stop(): void {
    this.stopped.abort();
  }

  /** Aborted by `stop`. Long-polling calls use it to answer early. */
  get stopping(): AbortSignal {
    return this.stopped.signal;
  }

  /** Checks the database and Redis, and returns the readiness. */
  async look(): Promise<Ready> {
    if (this.stopping.aborted) return { refusal: 'this instance is stopping', reasons: {} };
    await Promise.all([this.db.ready && this.database.problem(), this.claims.isUp && this.redis.problem()]);
    this.log.tell(textsOf(this.found()));
    const refusal = this.databaseProblem();
    const others = [
      { name: 'rabbitmq', reason: this.broker.isUp ? '' : 'not connected' },
      { name: 'redis', reason: this.claims.isUsed && !this.claims.isUp ? 'not connected' : '' },
      // Without a connection no queue is consumed, which counts as one problem.
      ...(this.broker.isUp ? this.broker.consumerProblems() : []).map(({ queue, reason }) => ({
        name: `consumer ${queue}`,
        reason,
      })),
      ...this.conditions.all,
    ];
    const found = [...others, ...this.found()].filter(({ name }) => name !== OWN_DATABASE && !this.isIgnored(name));
    return { refusal: refusal || null, reasons: textsOf(found) };
  }

  /** Problems that only readiness detects and logs. Other problems are logged where they are detected. */
  private found(): Condition[] {
    return [
      { name: OWN_DATABASE, reason: this.db.ready ? this.databaseProblem() : '' },
      { name: 'redis', reason: this.redis.known },
      ...this.db.scans.all.map((scan) => ({ name: `scan ${scan.name}`, reason: scan.problem })),
    ];
  }

  private isIgnored(name: string): boolean {
    return this.options.ignoreDegraded.some((one) =>
      one.endsWith('*') ? name.startsWith(one.slice(0, -1)) : name === one,
    );
  }

  private databaseProblem(): string {
    const { problem } = this.db;
    if (this.db.ready) return this.database.known && `the database of this app takes no write: ${this.database.known}`;
    return problem ? `the database of this app cannot be used: ${problem}` : 'the database of this app is unavailable';
  }

  /** Test write. Reading `read_only` would not do, since a privileged account may write in spite of it. */
  private async write(): Promise<string> {
    try {
      await this.pool.query(
        `INSERT INTO dtx_probe (app, at) VALUES (?, UTC_TIMESTAMP(3)) ON DUPLICATE KEY UPDATE at = UTC_TIMESTAMP(3)`,
        [this.core.app],
      );
      return '';
    } catch (error) {
      // A deadlock with the write of another instance proves that writes work.
      if (isDeadlock(error)) return '';
      throw error;
    }
  }
}

/** Maps names to reasons. A condition without a reason is healthy and left out. */
function textsOf(found: readonly Condition[]): Record<string, string> {
  return Object.fromEntries(found.filter(({ reason }) => reason).map(({ name, reason }) => [name, reason]));
}
