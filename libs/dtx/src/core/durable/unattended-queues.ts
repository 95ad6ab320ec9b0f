import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Periodic } from '../async/periodic-task.js';
import { Broker } from '../broker/broker.service.js';
import type { QueueKind } from '../broker/queue-kinds.js';
import { msOf } from '../database/clock-sql.js';
import { Database } from '../database/database.service.js';
import type { Migration } from '../database/migrate.js';
import { textOf } from '../errors/errors.js';
import { isUnavailable } from '../errors/sql-errors.js';
import { CORE_OPTIONS } from '../injection-tokens.js';
import { libraryLogger } from '../library-logger.js';
import type { CoreOptions } from '../options.js';
import { Alerts } from './alerts.js';
import { BackgroundWork } from './background-work.js';
import { inFuture } from './claim-and-reschedule.js';

/** Number of looks within `absentMs`. */
const LOOKS = 4;
const LOOK_EVERY_MAX_MS = 60_000;
/**
 * Queues without a publish for this time in milliseconds are not inspected, because an inspection declares the queue.
 */
const USED_MS = 8 * 86_400_000;
const SAY_AGAIN_MS = 86_400_000;

export const queueWatchMigrations: Migration[] = [
  {
    version: 1,
    name: 'queues of messages without a row at the sender',
    up: [
      `CREATE TABLE IF NOT EXISTS dtx_queue (
        name VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        kind VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        scheme VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        used_at DATETIME(3) NOT NULL,
        unattended_since DATETIME(3) NULL
      ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
    ],
  },
];

type Kind = Extract<QueueKind, string>;

interface Watched {
  readonly name: string;
  readonly kind: Kind;
  readonly scheme: string;
  /** Null while the queue is empty or has a consumer. */
  readonly unattended_ms: number | string | null;
}

/**
 * Watches the queues of messages that have no row at the sender. Each queue has a row in `dtx_queue` instead. Any
 * instance of the sender inspects it. Messages without a consumer for `absentMs` raise one alert, which closes when a
 * consumer attaches. If the process dies, the row remains and other instances inspect the queue.
 */
@Injectable()
export class QueueWatch implements OnModuleInit, OnModuleDestroy {
  private readonly logger = libraryLogger('queue watch');
  private readonly looks: Periodic;
  /** The last recorded use of a queue, `at` by the monotonic process clock. */
  private readonly said = new Map<string, { readonly kind: Kind; readonly at: number }>();

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly alerts: Alerts,
    private readonly background: BackgroundWork,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {
    const everyMs = Math.min(options.absentMs / LOOKS, LOOK_EVERY_MAX_MS);
    const failed = (error: unknown) => {
      if (!isUnavailable(error))
        this.logger.error(
          `cannot inspect the queues of ${this.database.names.inDatabase('dtx_queue')}, retrying: ${textOf(error)}`,
        );
    };
    this.looks = new Periodic(everyMs, () => this.lookAtAll(), failed);
  }

  onModuleInit(): void {
    this.database.addMigrations('dtx-queue', queueWatchMigrations);
    this.database.onReady(() => this.background.startPeriodic('queues without a consumer', this.looks));
  }

  async onModuleDestroy(): Promise<void> {
    await this.looks.stop();
  }

  /**
   * Records the use of a queue before the first message of this process. From then on some instance inspects the queue,
   * even if this process dies. A contract may have changed the kind of its queue, and with it the name on the wire. The
   * scheme of the row stays, because it is a part of the key that closes an open alert.
   */
  async use(queue: { name: string; kind: Kind; scheme: string }): Promise<void> {
    const said = this.said.get(queue.name);
    if (said?.kind === queue.kind && performance.now() - said.at < SAY_AGAIN_MS) return;
    await this.database.own.query(
      `INSERT INTO dtx_queue (name, kind, scheme, used_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3))
       ON DUPLICATE KEY UPDATE kind = VALUES(kind), used_at = UTC_TIMESTAMP(3)`,
      [queue.name, queue.kind, queue.scheme],
    );
    this.said.set(queue.name, { kind: queue.kind, at: performance.now() });
  }

  private async lookAtAll(): Promise<void> {
    if (!this.broker.publisher.isUp) return;
    const watched: Watched[] = await this.database.own.query(
      `SELECT name, kind, scheme, ${msOf('UTC_TIMESTAMP(3)')} - (${msOf('unattended_since')}) AS unattended_ms
       FROM dtx_queue WHERE used_at > ${inFuture(-USED_MS)} OR unattended_since IS NOT NULL`,
    );
    // During a deployment an instance of the older version may have set it back.
    for (const { name, kind } of watched) if (this.said.get(name)?.kind !== kind) this.said.delete(name);
    // A queue that the broker rejects must not hide the others.
    for (const queue of watched)
      await this.look(queue).catch((error) =>
        this.logger.warn(`cannot inspect queue ${this.nameOf(queue)}, retrying: ${textOf(error)}`),
      );
  }

  private async look(queue: Watched): Promise<void> {
    const messageCount = await this.broker.publisher.unattended(queue.name, queue.kind);
    const isUnattended = messageCount > 0;
    if (!isUnattended) return queue.unattended_ms === null ? undefined : this.close(queue);
    if (queue.unattended_ms === null)
      await this.database.own.query(
        'UPDATE dtx_queue SET unattended_since = UTC_TIMESTAMP(3) WHERE name = ? AND unattended_since IS NULL',
        [queue.name],
      );
    else if (Number(queue.unattended_ms) > this.options.absentMs) await this.tell(queue, messageCount);
  }

  private nameOf({ name, kind }: Watched): string {
    return this.broker.publisher.nameAtBroker(name, kind);
  }

  private async tell(queue: Watched, messages: number): Promise<void> {
    const { name, scheme, unattended_ms: ms } = queue;
    const lastError = `queue ${this.nameOf(queue)} has had no consumer for ${Math.round(Number(ms) / 1_000)} s: ${messages} messages wait; start a consumer`;
    const step = 'waiting for a consumer';
    const incident = { scheme, id: name, gid: null, step, lastError, closesBy: 'itself' } as const;
    // Another instance may have seen a consumer and closed the alert.
    await this.alerts.tell(incident, 'SILENT', async (sql) => {
      const still = 'SELECT name FROM dtx_queue WHERE name = ? AND unattended_since IS NOT NULL FOR UPDATE';
      const rows: unknown[] = await sql.query(still, [name]);
      return rows.length > 0;
    });
  }

  private async close({ name, scheme }: Watched): Promise<void> {
    await this.database.own.transaction(async (sql) => {
      await sql.query('UPDATE dtx_queue SET unattended_since = NULL WHERE name = ?', [name]);
      await this.alerts.close(sql, scheme, [name]);
    });
  }
}
