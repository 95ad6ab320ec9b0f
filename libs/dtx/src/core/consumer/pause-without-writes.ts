import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { Broker } from '../broker/broker.service.js';
import { Database } from '../database/database.service.js';
import { libraryLogger } from '../library-logger.js';

/** Interval of the looks in milliseconds, while all is well and while it is not. */
const LOOK_EVERY_MS = 500;
const LOOK_AGAIN_MS = 250;
/**
 * A problem that ends within this time pauses nothing. A new connection takes as long. A refusal (read-only) is known at
 * once, so it pauses after this time. A database that does not answer pauses too, after two looks of `WRITE_PROBE_LIMIT_MS`
 * in a row, 4 s: the instance can end no delivery meanwhile, and another one can until the default time limit of a
 * call that waits for an answer, 5 s. A pause that a slow database did not need costs redeliveries, which the inbox answers.
 */
const TOLERATED_MS = 1_000;

/**
 * Consumes queues only while the own database takes writes. An instance that is cut off from its database, or whose
 * database is read-only, would keep its share of the deliveries, which other instances of the app could handle. The pause
 * closes the channels, so the broker gives the deliveries in work to them. If the process dies, the broker does the same.
 * Without other instances the messages wait in their queues.
 */
@Injectable()
export class PauseWithoutWrites implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = libraryLogger('consumer');
  private readonly stopping = new AbortController();
  private running: Promise<void> = Promise.resolve();

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
  ) {}

  onApplicationBootstrap(): void {
    this.database.onReady(() => (this.running = this.watch()));
  }

  async onModuleDestroy(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  private async watch(): Promise<void> {
    const { signal } = this.stopping;
    let failingSince = Number.POSITIVE_INFINITY;
    while (!signal.aborted) {
      const reason = this.broker.consumesForDatabase ? await this.database.writeProblem() : '';
      if (signal.aborted) return;
      failingSince = reason ? Math.min(failingSince, performance.now()) : Number.POSITIVE_INFINITY;
      if (!reason) this.resume();
      else if (performance.now() - failingSince >= TOLERATED_MS) this.pause(reason);
      await sleep(reason ? LOOK_AGAIN_MS : LOOK_EVERY_MS, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  private pause(reason: string): void {
    if (this.broker.isPaused) return;
    this.logger.warn(`paused all consumers until the database of this app takes writes: ${reason}`);
    this.broker.pauseFor(`paused, the database of this app takes no write: ${reason}`);
  }

  private resume(): void {
    if (!this.broker.isPaused) return;
    this.logger.log('resumed all consumers, the database of this app takes writes');
    this.broker.pauseFor(undefined);
  }
}
