import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ChannelModel, connect, type Options } from 'amqplib';
import { type Backoff, backoffMs } from '../async/backoff.js';
import { libraryLogger } from '../library-logger.js';
import { parseServerUrl } from '../server-url.js';
import { KEEP_ALIVE_MS } from '../tcp-keep-alive.js';
import { CLOSE_LIMIT_MS, within } from './broker-step-timeout.js';
import { QueueNames, type SharedQueues } from './queue-prefix.js';

export interface ConnectionOptions {
  readonly url: string;
  readonly heartbeatSeconds: number;
  readonly reconnect: Backoff;
  /** The connection name in the management UI of the broker. */
  readonly name: string;
  /** Option `queuePrefix`. Default: `dtx`. */
  readonly queuePrefix?: string;
  /** Option `queues`. Default: `quorum`. */
  readonly queues?: SharedQueues;
}

/** Time limit in milliseconds from the first packet to the open connection. */
const CONNECT_LIMIT_MS = 10_000;

/**
 * One connection that reconnects for as long as the process lives. Emits `up` with the new connection, and `down`.
 * Channels, consumers and confirms belong to one connection and end with it. Emits `blocked` and `unblocked` when the
 * broker blocks and unblocks it. A message without a confirm on a lost connection may have arrived, so its sender sends it
 * again.
 */
export class BrokerConnection extends EventEmitter<{ up: [ChannelModel]; down: []; blocked: []; unblocked: [] }> {
  /** True after a close handshake without an answer. Later closes on this connection do not wait for one. */
  isSilent = false;
  private readonly logger = libraryLogger('broker');
  private readonly stopping = new AbortController();
  private current: ChannelModel | undefined;
  private blocked = false;
  private running: Promise<void> | undefined;
  private readonly address: Options.Connect;
  /** The names of queues on this connection. */
  readonly names: QueueNames;

  /** @throws OptionsError for a URL that cannot be read */
  constructor(private readonly options: ConnectionOptions) {
    super();
    this.address = brokerAddressOf(options.url);
    this.names = new QueueNames(options.queuePrefix, options.queues);
    this.setMaxListeners(100);
  }

  get isUp(): boolean {
    return this.current !== undefined;
  }

  /**
   * Whether the broker blocks this connection (memory or disk alarm). It reads nothing and answers nothing that is
   * sent.
   */
  get isBlocked(): boolean {
    return this.blocked;
  }

  /** The open connection. */
  get open(): ChannelModel | undefined {
    return this.current;
  }

  isCurrent(connection: ChannelModel): boolean {
    return this.current === connection;
  }

  /** Starts to connect in the background and returns at once. */
  start(): void {
    this.running ??= this.run();
  }

  /** Closes the connection. The wait for the close handshake is bounded. */
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
    if (isBlocked) this.logger.warn(`${this.options.name}: blocked by RabbitMQ, waiting: ${reason}`);
    else this.logger.log(`${this.options.name}: unblocked by RabbitMQ`);
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
      const connection = await within(CONNECT_LIMIT_MS, 'connecting', dialing, this.stopping.signal);
      // A connection that ended in the very packet that opened it has emitted `close` already.
      if (streamOf(connection)?.writableEnded) throw new Error('RabbitMQ closed the connection while it was opened');
      return connection;
    } catch (error) {
      dialing.then(hangUp, () => {});
      throw error;
    }
  }

  private untilClosed(connection: ChannelModel): Promise<void> {
    if (this.stopping.signal.aborted) return hangUp(connection);
    return new Promise((resolve) => {
      // `close` follows each connection error. An `error` event without a listener would end the process.
      connection.on('error', (error) =>
        this.logger.warn(`${this.options.name}: connection to RabbitMQ failed, reconnecting: ${describe(error)}`),
      );
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

/** Returns the text of a connection error. An AggregateError of Node (several addresses) has no message of its own. */
function describe(error: unknown): string {
  const { message, code } = error as { message?: string; code?: string };
  return message || code || String(error);
}

/** Passes the address as an object. amqplib parses URLs by its own rules and decodes an encoded password as Latin-1. */
export function brokerAddressOf(url: string): Options.Connect {
  const { protocol, host: hostname, port, user: username, password, path, query } = parseServerUrl('broker', url);
  const numbers = ['channelMax', 'frameMax', 'maxFrameSize'].filter((name) => name in query);
  return {
    protocol,
    hostname,
    port,
    // The default account is guest.
    ...(username === undefined && password === undefined ? {} : { username: username ?? '', password: password ?? '' }),
    // amqplib decodes this field, also in an object. The default virtual host is "/".
    vhost: encodeURIComponent(path || '/'),
    ...(query.locale ? { locale: query.locale } : {}),
    ...Object.fromEntries(numbers.map((name) => [name, Number(query[name])])),
  };
}

/** Closes the connection, and destroys the socket if the broker does not answer. */
async function hangUp(connection: ChannelModel): Promise<void> {
  connection.on('error', () => {});
  const stream = streamOf(connection);
  await within(CLOSE_LIMIT_MS, 'closing', connection.close()).catch((error) => stream?.destroy(error));
}

function streamOf(connection: ChannelModel): Duplex | undefined {
  return (connection.connection as unknown as { stream?: Duplex }).stream;
}
