import { Inject, Injectable, Logger, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Periodic } from '../async/periodic-task.js';
import { typeOf } from '../broker/envelope.js';
import { Database } from '../database/database.service.js';
import type { Condition } from '../durable/durable-table.js';
import { textOf } from '../errors/errors.js';
import type { CoreOptions } from '../options.js';
import { CORE_OPTIONS } from '../tokens.js';
import { servedMigrations } from './inbox-table.js';
import type { Endpoint } from './incoming-message.js';

/** What a stored delivery needs an instance to have: a consumer of its type, and the step before the ack if it had one. */
const NEED = `CONCAT(consumer, ' ', COALESCE(type, '-'), IF(before_ack OR settled_at IS NOT NULL, ' before-ack', ''))`;

/** How often an instance says what it serves, in parts of `absentMs`. */
const BEATS = 5;

/**
 * Which stored deliveries this instance can handle, and which ones no instance can. While a deployment is under way, old
 * and new instances share the table and serve different consumers: each takes what it serves, and leaves the rest to the
 * others. That nobody serves a delivery is known by evidence: every instance writes down what it serves, again and again.
 */
@Injectable()
export class Served implements OnModuleInit, OnModuleDestroy {
  private readonly logger = new Logger('Served');
  private names: readonly string[] = [];
  private beats: Periodic | undefined;
  /** When this instance began to watch, by its own clock. Before `absentMs` more the others may just not be up yet. */
  private since = Number.POSITIVE_INFINITY;

  constructor(
    private readonly database: Database,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {}

  onModuleInit(): void {
    this.database.addMigrations('dtx-served', servedMigrations);
  }

  async onModuleDestroy(): Promise<void> {
    await this.beats?.stop();
  }

  /** From now on this instance serves these. `beat` is called after each time that it has said so. */
  start(endpoints: readonly Endpoint[], beat: () => Promise<void>): void {
    this.names = endpoints.flatMap(namesOf).sort();
    this.since = performance.now();
    const failed = (error: unknown) => {
      this.logger.warn(`cannot say what is served here: ${textOf(error)}`);
      // Nor can the others: what they have said is old for that reason only.
      this.since = performance.now();
    };
    this.beats = new Periodic(this.options.absentMs / BEATS, () => this.say().then(beat), failed);
    this.beats.start();
  }

  /** The rows whose need this instance meets. */
  mine(): Condition {
    // Not only the list: an empty one would be no SQL.
    return { sql: `${NEED} IN (?)`, values: [['', ...this.names]] };
  }

  /** The rows whose need no instance has met for `absentMs`; none until this one has watched for as long. */
  nobodys(): Condition | null {
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
