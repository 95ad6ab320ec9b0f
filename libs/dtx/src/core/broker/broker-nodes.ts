import type { Options } from 'amqplib';
import { type Backoff, backoffMs } from '../async/backoff.js';
import { parseBrokerUrls } from '../broker-urls.js';
import type { ServerUrl } from '../server-url.js';

/** Time limit in milliseconds from the first packet to the open connection. */
const CONNECT_LIMIT_MS = 10_000;
/** The same in the first round over several nodes. A machine without power does not answer, and others may. */
const FIRST_ROUND_LIMIT_MS = 3_000;
/** A failure with a known reason is logged again after so many rounds. */
const LOGGED_ROUNDS = 10;

/** One node, as amqplib takes it and as log lines name it. */
export interface BrokerNode {
  /** Host and port, never the credentials. */
  readonly name: string;
  readonly address: Options.Connect;
}

/**
 * The nodes of a RabbitMQ cluster in the order of one connection. The order is random, so that the connections of many
 * processes spread over all nodes at first, and over the remaining nodes after the loss of one.
 */
export class BrokerNodes {
  private readonly nodes: readonly BrokerNode[];
  private index = 0;
  private failures = 0;
  private readonly reasons = new Map<BrokerNode, string>();

  /** @throws OptionsError for a URL that cannot be read, and for URLs of different clusters */
  constructor(
    urls: string | readonly string[],
    private readonly random: () => number = Math.random,
  ) {
    this.nodes = shuffled(parseBrokerUrls(urls).map(brokerNodeOf), random);
  }

  get current(): BrokerNode {
    return this.nodes[this.index]!;
  }

  /** Time limit in milliseconds for a connection to the current node. */
  get connectLimitMs(): number {
    return this.nodes.length > 1 && this.failures < this.nodes.length ? FIRST_ROUND_LIMIT_MS : CONNECT_LIMIT_MS;
  }

  /** The current node is connected. */
  connected(): void {
    this.failures = 0;
    this.reasons.clear();
  }

  /** The current node cannot be connected. Returns whether to log it: each new reason, and a known one sometimes. */
  failed(reason: string): boolean {
    const round = Math.floor(this.failures++ / this.nodes.length);
    const isNew = this.reasons.get(this.current) !== reason;
    this.reasons.set(this.current, reason);
    return isNew || round % LOGGED_ROUNDS === 0;
  }

  /**
   * Moves on after a failed or lost connection. Returns the wait in milliseconds before the next attempt. The backoff
   * grows with each full round. Within a round the wait is short, and random, so that the clients of a lost node do not
   * reach the next one in the same moment.
   */
  moveOn(backoff: Backoff): number {
    const count = this.nodes.length;
    this.index = (this.index + 1) % count;
    const rounds = this.failures / count;
    const isRoundOver = count === 1 || (rounds > 0 && Number.isInteger(rounds));
    return isRoundOver ? backoffMs(backoff, rounds + 1, this.random) : Math.round(backoff.firstMs * this.random());
  }
}

/** Passes the address as an object. amqplib parses URLs by its own rules and decodes an encoded password as Latin-1. */
export function brokerNodeOf(url: ServerUrl): BrokerNode {
  const { protocol, host: hostname, port, user: username, password, path, query } = url;
  const numbers = ['channelMax', 'frameMax', 'maxFrameSize'].filter((name) => name in query);
  const address = {
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
  return { name: hostname.includes(':') ? `[${hostname}]:${port}` : `${hostname}:${port}`, address };
}

function shuffled<T>(list: readonly T[], random: () => number): T[] {
  const left = [...list];
  return list.map(() => left.splice(Math.floor(random() * left.length), 1)[0]!);
}
