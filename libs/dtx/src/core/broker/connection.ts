import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { type ChannelModel, connect } from 'amqplib';
import { type Backoff, backoffMs } from '../backoff.js';

export interface ConnectionOptions {
  readonly url: string;
  readonly heartbeatSeconds: number;
  readonly reconnect: Backoff;
  /** Shown in the broker's list of connections. */
  readonly name: string;
}

const CONNECT_LIMIT_MS = 10_000;

/**
 * One connection that comes back by itself for as long as the process lives. Emits `up` with the new connection and
 * `down`; everything on it (channels, consumers, confirms) belongs to that connection and dies with it. While it is up
 * the broker may block it, which `blocked` and `unblocked` tell.
 */
export class BrokerConnection extends EventEmitter<{ up: [ChannelModel]; down: []; blocked: []; unblocked: [] }> {
  private readonly logger = new Logger('Broker');
  private readonly stopping = new AbortController();
  private current: ChannelModel | undefined;
  private blocked = false;
  private running: Promise<void> | undefined;

  constructor(private readonly options: ConnectionOptions) {
    super();
    this.setMaxListeners(100);
  }

  get isUp(): boolean {
    return this.current !== undefined;
  }

  /** The broker takes nothing from it now (memory or disk alarm): what is sent stays unread, and unanswered. */
  get isBlocked(): boolean {
    return this.blocked;
  }

  /** The connection that is open now. */
  get open(): ChannelModel | undefined {
    return this.current;
  }

  isCurrent(connection: ChannelModel): boolean {
    return this.current === connection;
  }

  /** Starts connecting; returns at once, whether or not the broker is there. */
  start(): void {
    this.running ??= this.run();
  }

  async close(): Promise<void> {
    this.stopping.abort();
    await this.current?.close().catch(() => {});
    await this.running;
  }

  private async run(): Promise<void> {
    for (let attempt = 1; !this.stopping.signal.aborted; attempt++) {
      try {
        const connection = await this.dial();
        attempt = 0;
        await this.untilClosed(connection);
      } catch (error) {
        if (attempt % 10 === 1)
          this.logger.warn(`${this.options.name}: the broker is away, trying on: ${describe(error)}`);
      }
      if (this.stopping.signal.aborted) return;
      await sleep(backoffMs(this.options.reconnect, attempt + 1), undefined, { signal: this.stopping.signal }).catch(
        () => {},
      );
    }
  }

  private setBlocked(isBlocked: boolean, reason = ''): void {
    this.blocked = isBlocked;
    if (isBlocked) this.logger.warn(`${this.options.name}: the broker has blocked it: ${reason}`);
    else this.logger.log(`${this.options.name}: the broker takes messages again`);
    this.emit(isBlocked ? 'blocked' : 'unblocked');
  }

  private dial(): Promise<ChannelModel> {
    const url = new URL(this.options.url);
    url.searchParams.set('heartbeat', String(this.options.heartbeatSeconds));
    return connect(url.href, {
      timeout: CONNECT_LIMIT_MS,
      clientProperties: { connection_name: this.options.name },
    }) as Promise<ChannelModel>;
  }

  private untilClosed(connection: ChannelModel): Promise<void> {
    if (this.stopping.signal.aborted) return connection.close().catch(() => {});
    return new Promise((resolve) => {
      // A connection error is always followed by `close`; without a listener it would end the process.
      connection.on('error', (error) => this.logger.warn(`${this.options.name}: ${describe(error)}`));
      connection.on('blocked', (reason) => this.setBlocked(true, String(reason)));
      connection.on('unblocked', () => this.setBlocked(false));
      connection.once('close', () => {
        this.current = undefined;
        this.blocked = false;
        this.emit('down');
        resolve();
      });
      this.current = connection;
      this.logger.log(`${this.options.name}: connected`);
      this.emit('up', connection);
    });
  }
}

/** A connection error's text; Node's AggregateError (several addresses tried) has none of its own. */
function describe(error: unknown): string {
  const { message, code } = error as { message?: string; code?: string };
  return message || code || String(error);
}
