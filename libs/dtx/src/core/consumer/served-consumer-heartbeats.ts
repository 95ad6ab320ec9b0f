import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Periodic } from '../async/periodic-task.js';
import { typeOf } from '../broker/envelope.js';
import { Database } from '../database/database.service.js';
import type { Migration } from '../database/migrate.js';
import { BackgroundWork } from '../durable/background-work.js';
import type { Condition } from '../durable/durable-table.js';
import { textOf } from '../errors/errors.js';
import { CORE_OPTIONS } from '../injection-tokens.js';
import { libraryLogger } from '../library-logger.js';
import type { CoreOptions } from '../options.js';
import type { Endpoint } from './incoming-message.js';

/** The requirement of a stored delivery: a consumer of its type, with a `@BeforeAck` if the delivery has one. */
const NEED = `CONCAT(consumer, ' ', COALESCE(type, '-'), IF(before_ack OR settled_at IS NOT NULL, ' before-ack', ''))`;

/** Number of heartbeats within `absentMs`. */
const BEATS = 5;

export const servedMigrations: Migration[] = [
  {
    version: 1,
    name: 'the consumers that each instance serves, with a heartbeat',
    up: [
      `CREATE TABLE IF NOT EXISTS dtx_served (
        name VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        seen_at DATETIME(3) NOT NULL
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
    ],
  },
];

/**
 * Tracks which stored deliveries this instance can handle, and which no instance can. During a rolling deployment, old
 * and new instances share the inbox and serve different consumers. Each instance claims the rows of its consumers. Each
 * instance also records its consumers in `dtx_served` with a heartbeat. Without a heartbeat for `absentMs`, the rows of
 * a consumer are parked. If the process dies, its heartbeats become old.
 */
@Injectable()
export class ServedConsumers implements OnModuleInit, OnModuleDestroy {
  private readonly logger = libraryLogger('served consumers');
  private names: readonly string[] = [];
  private beats: Periodic | undefined;
  /**
   * Start of the observation by the monotonic process clock. Until `absentMs` later, other instances may still be
   * starting.
   */
  private since = Number.POSITIVE_INFINITY;

  constructor(
    private readonly database: Database,
    private readonly background: BackgroundWork,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {}

  onModuleInit(): void {
    this.database.addMigrations('dtx-served', servedMigrations);
  }

  async onModuleDestroy(): Promise<void> {
    await this.beats?.stop();
  }

  /** Starts the heartbeats of this instance. `beat` runs after each of them. */
  start(endpoints: readonly Endpoint[], beat: () => Promise<void>): void {
    this.names = endpoints.flatMap(namesOf).sort();
    this.since = performance.now();
    const failed = (error: unknown) => {
      const table = this.database.names.inDatabase('dtx_served');
      this.logger.warn(`cannot record the consumers of this instance in ${table}, retrying: ${textOf(error)}`);
      // Other instances have the same problem, so their heartbeats are old for that reason only.
      this.since = performance.now();
    };
    this.beats = new Periodic(this.options.absentMs / BEATS, () => this.say().then(beat), failed);
    this.background.startPeriodic('served consumers', this.beats);
  }

  /** The rows that this instance can handle. */
  mine(): Condition {
    // The empty text keeps `IN` valid for an empty list.
    return { sql: `${NEED} IN (?)`, values: [['', ...this.names]] };
  }

  /** The rows that no instance has served for `absentMs`. Null until this instance has observed for as long. */
  unserved(): Condition | null {
    if (performance.now() - this.since < this.options.absentMs) return null;
    const sql = `${NEED} NOT IN (SELECT name FROM dtx_served
      WHERE seen_at > UTC_TIMESTAMP(3) - INTERVAL ${this.options.absentMs * 1_000} MICROSECOND)`;
    return { sql, values: [] };
  }

  private async say(): Promise<void> {
    if (this.names.length === 0) return;
    const places = this.names.map(() => '(?, UTC_TIMESTAMP(3))').join(', ');
    await this.database.own.transaction((sql) =>
      sql.query(
        `INSERT INTO dtx_served (name, seen_at) VALUES ${places} ON DUPLICATE KEY UPDATE seen_at = UTC_TIMESTAMP(3)`,
        this.names,
      ),
    );
  }
}

function namesOf({ consumer, contract, beforeAck }: Endpoint): string[] {
  const name = `${consumer} ${typeOf(contract)}`;
  return beforeAck ? [name, `${name} before-ack`] : [name];
}
