import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ChannelModel, connect } from 'amqplib';
import type { Backoff } from '../async/backoff.js';
import { textOf } from '../errors/errors.js';
import { libraryLogger } from '../library-logger.js';
import { KEEP_ALIVE_MS } from '../tcp-keep-alive.js';
import { type BrokerNode, BrokerNodes } from './broker-nodes.js';
import { CLOSE_LIMIT_MS, within } from './broker-step-timeout.js';
import { connectionProblem, withAdvice, wordsOf } from './connection-problem.js';
import { gatherWrites } from './gathered-writes.js';
import { QueueNames, type SharedQueues } from './queue-prefix.js';

export interface ConnectionOptions {
  /** The URL of the broker, or those of the nodes of one cluster. */
  readonly url: string | readonly string[];
  readonly heartbeatSeconds: number;
  readonly reconnect: Backoff;
  /** The connection name in the management UI of the broker. */
  readonly name: string;
  /** Option `queuePrefix`. Default: `dtx`. */
  readonly queuePrefix?: string;
  /** Option `queues`. Default: `quorum`. */
  readonly queues?: SharedQueues;
}

/**
 * One connection that reconnects for as long as the process lives. With several nodes, a failed or lost connection moves
 * on to the next node. Emits `up` with the new connection, and `down`.
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
  private readonly nodes: BrokerNodes;
  private failure: string | undefined;
  /** The names of queues on this connection. */
  readonly names: QueueNames;

  /** @throws OptionsError for a URL that cannot be read, and for URLs of different clusters */
  constructor(private readonly options: ConnectionOptions) {
    super();
    this.nodes = new BrokerNodes(options.url);
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

  /** The connection, as operators see it. */
  get state(): { isUp: boolean; isBlocked: boolean; node: string; server: string | null; problem: string | null } {
    const { isUp, isBlocked, current } = this;
    const properties = (current?.connection as { serverProperties?: { version?: unknown } } | undefined)
      ?.serverProperties;
    const server = properties?.version === undefined ? null : String(properties.version);
    return { isUp, isBlocked, node: this.nodes.current.name, server, problem: isUp ? null : this.problem };
  }

  /** The text for a step without a connection, with the reason in the broker's own words. */
  get problem(): string {
    return this.failure
      ? `no connection to RabbitMQ, reconnecting: ${this.failure}`
      : 'no connection to RabbitMQ, reconnecting';
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
    const { signal } = this.stopping;
    while (!signal.aborted) {
      const node = this.nodes.current;
      try {
        const connection = await this.dial(node);
        this.nodes.connected();
        await this.untilClosed(connection, node);
      } catch (error) {
        await this.report(error, node);
      }
      if (signal.aborted) return;
      await sleep(this.nodes.moveOn(this.options.reconnect), undefined, { signal }).catch(() => {});
    }
  }

  private async report(error: unknown, node: BrokerNode): Promise<void> {
    if (this.stopping.signal.aborted || !this.nodes.failed(textOf(error))) return;
    this.failure = `${node.name}: ${await connectionProblem(error, node)}`;
    this.logger.warn(`${this.options.name}: cannot connect to RabbitMQ, retrying: ${this.failure}`);
  }

  private setBlocked(isBlocked: boolean, reason = ''): void {
    this.blocked = isBlocked;
    if (isBlocked) this.logger.warn(`${this.options.name}: blocked by RabbitMQ, waiting: ${reason}`);
    else this.logger.log(`${this.options.name}: unblocked by RabbitMQ`);
    this.emit(isBlocked ? 'blocked' : 'unblocked');
  }

  private async dial({ address }: BrokerNode): Promise<ChannelModel> {
    const { heartbeatSeconds: heartbeat, name } = this.options;
    const limitMs = this.nodes.connectLimitMs;
    const dialing = connect(
      { ...address, heartbeat },
      {
        timeout: limitMs,
        // amqplib leaves Nagle's algorithm on (RFC 896). A small write, as an ack, would delay the next one by up to 40 ms.
        noDelay: true,
        keepAlive: true,
        keepAliveDelay: KEEP_ALIVE_MS,
        clientProperties: { connection_name: name },
      },
    ) as Promise<ChannelModel>;
    try {
      const connection = await within(limitMs, 'connecting', dialing, this.stopping.signal);
      // A connection that ended in the very packet that opened it has emitted `close` already.
      const stream = streamOf(connection);
      if (stream?.writableEnded) throw new Error('RabbitMQ closed the connection while it was opened');
      if (stream) gatherWrites(stream);
      return connection;
    } catch (error) {
      dialing.then(hangUp, () => {});
      throw error;
    }
  }

  private untilClosed(connection: ChannelModel, { name: node }: BrokerNode): Promise<void> {
    if (this.stopping.signal.aborted) return hangUp(connection);
    const { name } = this.options;
    return new Promise((resolve) => {
      // `close` follows each connection error. An `error` event without a listener would end the process.
      connection.on('error', () => {});
      connection.on('blocked', (reason) => this.setBlocked(true, String(reason)));
      connection.on('unblocked', () => this.setBlocked(false));
      // A close by an operator or by a node that stops emits no `error`. A close of our own has no reason.
      connection.once('close', (error) => {
        this.current = undefined;
        this.blocked = false;
        destroyLater(connection);
        if (error && !this.stopping.signal.aborted) {
          this.failure = `${node}: ${withAdvice(wordsOf(error))}`;
          this.logger.warn(`${name}: lost the connection to RabbitMQ, reconnecting: ${this.failure}`);
        }
        this.emit('down');
        resolve();
      });
      this.current = connection;
      this.failure = undefined;
      this.isSilent = false;
      this.logger.log(`${name}: connected to ${node}`);
      this.emit('up', connection);
    });
  }
}

/** Closes the connection, and destroys the socket if the broker does not answer. */
async function hangUp(connection: ChannelModel): Promise<void> {
  connection.on('error', () => {});
  const stream = streamOf(connection);
  await within(CLOSE_LIMIT_MS, 'closing', connection.close()).catch((error) => stream?.destroy(error));
}

/**
 * amqplib ends its side of a lost connection and waits for the other one. After a silence of the network that end never
 * comes, and the socket would keep the process alive.
 */
function destroyLater(connection: ChannelModel): void {
  const stream = streamOf(connection);
  setTimeout(() => stream?.destroy(), CLOSE_LIMIT_MS).unref();
}

function streamOf(connection: ChannelModel): Duplex | undefined {
  return (connection.connection as unknown as { stream?: Duplex }).stream;
}
