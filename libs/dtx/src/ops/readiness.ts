import { Inject, Injectable, Logger, OnApplicationShutdown, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Broker } from '../core/broker/broker.service.js';
import { type Condition, Conditions } from '../core/conditions.js';
import { RedisClaims } from '../core/consumer/redis-claims.js';
import { Database } from '../core/database/database.service.js';
import type { Migration } from '../core/database/migrate.js';
import { SidePool } from '../core/database/side-pool.js';
import { isDeadlock } from '../core/errors/sql-errors.js';
import type { CoreOptions } from '../core/options.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { OPS_OPTIONS, type OpsOptions } from './options.js';
import { Probe } from './probe.js';
import { StateLog } from './state-log.js';

/** Redis only degrades, so readiness does not wait for it as long as for the database. */
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

/** `refusal` is why no work should be sent here, or null. `reasons` has a text for each name of what is degraded. */
export interface Ready {
  readonly refusal: string | null;
  readonly reasons: Readonly<Record<string, string>>;
}

/**
 * Whether this instance can do its work. It can as long as its own database takes writes and nobody has told it to stop.
 * Everything else only degrades it: by name, with the reason, and with one line in the log per change.
 */
@Injectable()
export class Readiness implements OnModuleInit, OnModuleDestroy, OnApplicationShutdown {
  private readonly pool: SidePool;
  private readonly database: Probe;
  private readonly redis: Probe;
  private readonly log = new StateLog(new Logger('Readiness'));
  private timer: NodeJS.Timeout | undefined;
  private readonly stopped = new AbortController();

  constructor(
    private readonly db: Database,
    private readonly broker: Broker,
    private readonly claims: RedisClaims,
    private readonly conditions: Conditions,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(OPS_OPTIONS) private readonly options: OpsOptions,
  ) {
    const { probeFreshMs: freshMs, probeLimitMs: limitMs } = options;
    this.pool = new SidePool(db.source, { size: 1, limitMs });
    this.database = new Probe(() => this.write(), { freshMs, limitMs });
    this.redis = new Probe(() => this.claims.probe(`dtx:ready:${core.app}`), { freshMs, limitMs: REDIS_LIMIT_MS });
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

  /** From now on this instance is not ready. Call it on the signal to stop, before anything is closed. */
  stop(): void {
    this.stopped.abort();
  }

  /** Aborted from `stop` on: for calls that wait for something, and may as well be answered now. */
  get stopping(): AbortSignal {
    return this.stopped.signal;
  }

  async look(): Promise<Ready> {
    if (this.stopping.aborted) return { refusal: 'this instance is stopping', reasons: {} };
    await Promise.all([this.db.ready && this.database.problem(), this.claims.isUp && this.redis.problem()]);
    this.log.tell(textsOf(this.found()));
    const refusal = this.databaseProblem();
    const others = [
      { name: 'rabbitmq', reason: this.broker.isUp ? '' : 'not connected' },
      { name: 'redis', reason: this.claims.isUsed && !this.claims.isUp ? 'not connected' : '' },
      // Without a connection no queue is consumed: that is one problem.
      ...(this.broker.isUp ? this.broker.consumerProblems() : []).map(({ queue, reason }) => ({
        name: `consumer ${queue}`,
        reason,
      })),
      ...this.conditions.all,
    ];
    const found = [...others, ...this.found()].filter(({ name }) => name !== OWN_DATABASE && !this.isIgnored(name));
    return { refusal: refusal || null, reasons: textsOf(found) };
  }

  /** What only readiness finds. Everything else is told in the log by who finds it. */
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
    return problem ? `the database of this app cannot be used: ${problem}` : 'the database of this app is away';
  }

  /** A write of its own, since an account may be above what makes a server read-only. */
  private async write(): Promise<string> {
    try {
      await this.pool.query(
        `INSERT INTO dtx_probe (app, at) VALUES (?, UTC_TIMESTAMP(3)) ON DUPLICATE KEY UPDATE at = UTC_TIMESTAMP(3)`,
        [this.core.app],
      );
      return '';
    } catch (error) {
      // Another instance has written the row at the same time.
      if (isDeadlock(error)) return '';
      throw error;
    }
  }
}

/** The reasons by their names. What works has none. */
function textsOf(found: readonly Condition[]): Record<string, string> {
  return Object.fromEntries(found.filter(({ reason }) => reason).map(({ name, reason }) => [name, reason]));
}
