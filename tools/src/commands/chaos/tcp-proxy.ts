// A TCP proxy with real sockets between an app and a server. A command or a test disturbs the network of one app with it, as a
// cable, a firewall or a switch does, while every other client still reaches the server.
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export type Direction = 'to-server' | 'to-client';
type Listener = (chunk: Buffer, connection: number) => void;

/** One connection. */
interface Link {
  readonly id: number;
  readonly client: Socket;
  readonly server: Socket;
  /** The stream has lost bytes and can never be whole again. */
  holed: boolean;
  isForgotten: boolean;
}

export class TcpProxy {
  /** Connections let through, connections refused (while cut), and bytes swallowed. */
  counts = { accepted: 0, refused: 0, swallowed: 0 };
  /** Connections that are open now. */
  open = (): number => this.#links.size;
  readonly #links = new Set<Link>();
  readonly #listeners: Record<Direction, Set<Listener>> = { 'to-server': new Set(), 'to-client': new Set() };
  readonly #holes = new Set<Direction>();
  #isCut = false;
  #delayMs = 0;
  readonly #listening: Server;
  #target: { host: string; port: number };
  /** The target's URL with host and port of this proxy. */
  readonly url: string;

  private constructor(listening: Server, url: string, target: { host: string; port: number }) {
    this.#listening = listening;
    this.url = url;
    this.#target = target;
    listening.on('connection', (client) => this.#accept(client));
  }

  static async start(targetUrl: string): Promise<TcpProxy> {
    const url = new URL(targetUrl);
    const target = targetOf(url);
    const listening = createServer();
    await new Promise<void>((resolve, reject) => listening.once('error', reject).listen(0, '127.0.0.1', resolve));
    url.hostname = '127.0.0.1';
    url.port = String((listening.address() as AddressInfo).port);
    return new TcpProxy(listening, url.href, target);
  }

  /** Ends every connection and resets new ones at once. The port stays taken, otherwise another process could get it. */
  cut(): void {
    this.#isCut = true;
    for (const link of this.#links) this.#end(link, (socket) => socket.destroy());
  }

  /** Accepts and swallows the bytes of that direction and the end of the stream. Neither side notices. */
  blackHole(direction: Direction | 'both'): void {
    for (const one of ['to-server', 'to-client'] as const)
      if (direction === 'both' || direction === one) this.#holes.add(one);
  }

  /** From now on every chunk arrives this much later, in both directions, in order. */
  delay(ms: number): void {
    this.#delayMs = ms;
  }

  /** A firewall forgets the connections that are open: from now on their bytes go nowhere. New ones are let through. */
  forget(): void {
    for (const link of this.#links) link.isForgotten = true;
  }

  /** RST on every existing connection; new ones are let through. */
  reset(): void {
    for (const link of this.#links) this.#end(link, (socket) => socket.resetAndDestroy());
  }

  /** The address moves to another server, as after a failover. Open connections are reset. */
  leadTo(targetUrl: string): void {
    this.#target = targetOf(new URL(targetUrl));
    this.reset();
  }

  /** The network works again. A connection that lost bytes is reset, because its stream cannot be repaired. */
  heal(): void {
    this.#isCut = false;
    this.#delayMs = 0;
    this.#holes.clear();
    for (const link of this.#links) if (link.holed) this.#end(link, (socket) => socket.resetAndDestroy());
  }

  /**
   * Shows the listener every chunk before it is passed on, with the number of its connection: 1, 2, ... in the order of
   * their opening. If the listener calls `cut()` or `blackHole()`, this chunk does not arrive any more. Returns how to end
   * the listening.
   */
  onBytes(direction: Direction, listener: Listener): () => void {
    this.#listeners[direction].add(listener);
    return () => void this.#listeners[direction].delete(listener);
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#listening.close(() => resolve()));
    for (const link of this.#links) this.#end(link, (socket) => socket.destroy());
    await closed;
  }

  #accept(client: Socket): void {
    if (this.#isCut) {
      this.counts.refused++;
      client.on('error', () => {}).resetAndDestroy();
      return;
    }
    const id = ++this.counts.accepted;
    const link: Link = {
      id,
      client,
      server: connect({ ...this.#target, noDelay: true }),
      holed: false,
      isForgotten: false,
    };
    client.setNoDelay(true);
    this.#links.add(link);
    this.#pump(link, 'to-server', link.client, link.server);
    this.#pump(link, 'to-client', link.server, link.client);
  }

  #pump(link: Link, direction: Direction, from: Socket, to: Socket): void {
    // One chain per direction, so that a chunk, a delay and the end of the stream keep their order.
    let tail: Promise<unknown> = Promise.resolve();
    from.on('error', () => {}); // 'close' follows and reaches the other side
    from.on('data', (chunk: Buffer) => {
      for (const listener of this.#listeners[direction]) listener(chunk, link.id);
      if (this.#swallows(link, direction, chunk.length)) return;
      const ms = this.#delayMs;
      if (ms > 0) tail = tail.then(() => sleep(ms));
      tail = tail.then(() => !to.destroyed && !to.write(chunk) && holdBack(from, to));
    });
    from.on('close', () => {
      if (!this.#swallows(link, direction, 0))
        tail = tail.then(() => this.#end(link, (socket) => socket.destroySoon()));
    });
  }

  /** Whether these bytes (or this end of the stream, at 0 bytes) go no further. */
  #swallows(link: Link, direction: Direction, bytes: number): boolean {
    if (!this.#links.has(link)) return true;
    if (!this.#holes.has(direction) && !link.isForgotten) return false;
    link.holed = true;
    this.counts.swallowed += bytes;
    return true;
  }

  #end(link: Link, how: (socket: Socket) => void): void {
    this.#links.delete(link);
    how(link.client);
    how(link.server);
  }
}

function targetOf(url: URL): { host: string; port: number } {
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port) };
}

function holdBack(from: Socket, to: Socket): void {
  from.pause();
  to.once('drain', () => from.resume());
}
