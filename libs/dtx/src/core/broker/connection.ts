import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { type ChannelModel, connect, type Options } from 'amqplib';
import { type Backoff, backoffMs } from '../async/backoff.js';
import { KEEP_ALIVE_MS } from '../keep-alive.js';
import { parseServerUrl } from '../server-url.js';
import { CLOSE_LIMIT_MS, within } from './limit.js';

export interface ConnectionOptions {
  readonly url: string;
  readonly heartbeatSeconds: number;
  readonly reconnect: Backoff;
  /** Shown in the broker's list of connections. */
  readonly name: string;
}

/** From the first packet to the open connection. */
const CONNECT_LIMIT_MS = 10_000;

/**
 * One connection that comes back by itself for as long as the process lives. Emits `up` with the new connection and
 * `down`; everything on it (channels, consumers, confirms) belongs to that connection and dies with it. While it is up
 * the broker may block it, which `blocked` and `unblocked` tell.
 */
export class BrokerConnection extends EventEmitter<{ up: [ChannelModel]; down: []; blocked: []; unblocked: [] }> {
  /** It has left a goodbye without an answer: those who end now need not wait for theirs. */
  isSilent = false;
  private readonly logger = new Logger('Broker');
  private readonly stopping = new AbortController();
  private current: ChannelModel | undefined;
  private blocked = false;
  private running: Promise<void> | undefined;
  private readonly address: Options.Connect;

  /** @throws OptionsError for a URL that cannot be read */
  constructor(private readonly options: ConnectionOptions) {
    super();
    this.address = addressOf(options.url);
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

  /** Bounded: a broker that does not answer is left without its goodbye. */
  async close(): Promise<void> {
    this.stopping.abort();
    if (this.current) await hangUp(this.current);
    await within(CLOSE_LIMIT_MS, 'closing', this.running ?? Promise.resolve()).catch(() => {});
  }

  private async run(): Promise<void> {
    for (let attempt = 1; !this.stopping.signal.aborted; attempt++) {
      try {
        const connection = await this.dial();
        attempt = 0;
        await this.untilClosed(connection);
      } catch (error) {
        if (attempt % 10 === 1)
          this.logger.warn(`${this.options.name}: cannot connect to RabbitMQ, retrying: ${describe(error)}`);
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

  private async dial(): Promise<ChannelModel> {
    const { heartbeatSeconds: heartbeat, name } = this.options;
    const dialing = connect(
      { ...this.address, heartbeat },
      {
        timeout: CONNECT_LIMIT_MS,
        keepAlive: true,
        keepAliveDelay: KEEP_ALIVE_MS,
        clientProperties: { connection_name: name },
      },
    ) as Promise<ChannelModel>;
    try {
      return await within(CONNECT_LIMIT_MS, 'connecting', dialing, this.stopping.signal);
    } catch (error) {
      dialing.then(hangUp, () => {});
      throw error;
    }
  }

  private untilClosed(connection: ChannelModel): Promise<void> {
    if (this.stopping.signal.aborted) return hangUp(connection);
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
      this.isSilent = false;
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

/** As an object: the client library reads a URL in its own way, and takes an encoded password for Latin-1. */
function addressOf(url: string): Options.Connect {
  const { protocol, host: hostname, port, user: username, password, path, query } = parseServerUrl('broker', url);
  const numbers = ['channelMax', 'frameMax', 'maxFrameSize'].filter((name) => name in query);
  return {
    protocol,
    hostname,
    port,
    // Without both it is guest.
    ...(username === undefined && password === undefined ? {} : { username: username ?? '', password: password ?? '' }),
    // The library decodes it, in an object too. Without a name it is "/".
    vhost: encodeURIComponent(path || '/'),
    ...(query.locale ? { locale: query.locale } : {}),
    ...Object.fromEntries(numbers.map((name) => [name, Number(query[name])])),
  };
}

/** Says goodbye, and ends the socket of a broker that does not answer. */
async function hangUp(connection: ChannelModel): Promise<void> {
  connection.on('error', () => {});
  const { stream } = connection.connection as unknown as { stream?: Duplex };
  await within(CLOSE_LIMIT_MS, 'closing', connection.close()).catch((error) => stream?.destroy(error));
}
