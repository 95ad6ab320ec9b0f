// A TCP proxy with real sockets between an app and a server, so that a test can do to one app's network what a cable,
// a firewall or a switch does to it, while every other app and the test itself still reach the server.
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export type Direction = 'to-server' | 'to-client';
/** `connection` tells one connection of the app's pool from another: 1, 2, ... in the order of their opening. */
type Listener = (chunk: Buffer, connection: number) => void;

/** One connection: the app's socket, the server's, and whether the stream has lost bytes and so can never be whole again. */
interface Link {
  id: number;
  client: Socket;
  server: Socket;
  holed: boolean;
  isForgotten: boolean;
}

export class TcpProxy {
  /** Connections let through, refused (while cut), and bytes swallowed: what a test asserts to know that its fault happened. */
  readonly counts = { accepted: 0, refused: 0, swallowed: 0 };
  private readonly links = new Set<Link>();
  private readonly listeners: Record<Direction, Set<Listener>> = { 'to-server': new Set(), 'to-client': new Set() };
  private readonly holes = new Set<Direction>();
  private isCut = false;
  private delayMs = 0;

  private constructor(
    private readonly listening: Server,
    /** The target's URL with host and port of this proxy. */
    readonly url: string,
    private readonly target: { host: string; port: number },
  ) {
    listening.on('connection', (client) => this.accept(client));
  }

  static async start(targetUrl: string): Promise<TcpProxy> {
    const url = new URL(targetUrl);
    const target = { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port) };
    const listening = createServer();
    await new Promise<void>((resolve, reject) => listening.once('error', reject).listen(0, '127.0.0.1', resolve));
    url.hostname = '127.0.0.1';
    url.port = String((listening.address() as AddressInfo).port);
    return new TcpProxy(listening, url.href, target);
  }

  /** Connections open right now. */
  readonly open = () => this.links.size;

  /** Ends every connection and resets new ones at once; the port stays taken, else another process could get it. */
  cut(): void {
    this.isCut = true;
    for (const link of this.links) this.end(link, (socket) => socket.destroy());
  }

  /** Accepts and swallows the bytes of that direction, the end of the stream too: neither side learns anything. */
  blackHole(direction: Direction | 'both'): void {
    for (const one of ['to-server', 'to-client'] as const)
      if (direction === 'both' || direction === one) this.holes.add(one);
  }

  /** From now on every chunk arrives this much later, in both directions, in order. */
  delay(ms: number): void {
    this.delayMs = ms;
  }

  /** A firewall forgets the connections that are open: from now on their bytes go nowhere. New ones are let through. */
  forget(): void {
    for (const link of this.links) link.isForgotten = true;
  }

  /** RST on every existing connection; new ones are let through. */
  reset(): void {
    for (const link of this.links) this.end(link, (socket) => socket.resetAndDestroy());
  }

  /** The network is well again. A connection that lost bytes is reset: nothing could put its stream together again. */
  heal(): void {
    this.isCut = false;
    this.delayMs = 0;
    this.holes.clear();
    for (const link of this.links) if (link.holed) this.end(link, (socket) => socket.resetAndDestroy());
  }

  /**
   * Shows the listener every chunk before it is passed on. What the listener does to the proxy already holds for this
   * chunk: `cut()` and `blackHole()` in it keep the chunk from arriving. Returns what ends the listening.
   */
  onBytes(direction: Direction, listener: Listener): () => void {
    this.listeners[direction].add(listener);
    return () => this.listeners[direction].delete(listener);
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.listening.close(() => resolve()));
    for (const link of this.links) this.end(link, (socket) => socket.destroy());
    await closed;
  }

  private accept(client: Socket): void {
    if (this.isCut) {
      this.counts.refused++;
      client.on('error', () => {}).resetAndDestroy();
      return;
    }
    const id = ++this.counts.accepted;
    const link: Link = {
      id,
      client,
      server: connect({ ...this.target, noDelay: true }),
      holed: false,
      isForgotten: false,
    };
    client.setNoDelay(true);
    this.links.add(link);
    this.pump(link, 'to-server', link.client, link.server);
    this.pump(link, 'to-client', link.server, link.client);
  }

  private pump(link: Link, direction: Direction, from: Socket, to: Socket): void {
    // One chain per direction, so that a chunk, a delay and the end of the stream keep their order.
    let tail: Promise<unknown> = Promise.resolve();
    from.on('error', () => {}); // 'close' follows, and is what the other side hears of
    from.on('data', (chunk) => {
      for (const listener of this.listeners[direction]) listener(chunk, link.id);
      if (this.swallows(link, direction, chunk.length)) return;
      const ms = this.delayMs;
      if (ms > 0) tail = tail.then(() => sleep(ms));
      tail = tail.then(() => !to.destroyed && !to.write(chunk) && this.holdBack(from, to));
    });
    from.on('close', () => {
      if (!this.swallows(link, direction, 0)) tail = tail.then(() => this.end(link, (socket) => socket.destroySoon()));
    });
  }

  /** Whether these bytes (or this end of the stream, at 0 bytes) go no further. */
  private swallows(link: Link, direction: Direction, bytes: number): boolean {
    if (!this.links.has(link)) return true;
    if (!this.holes.has(direction) && !link.isForgotten) return false;
    link.holed = true;
    this.counts.swallowed += bytes;
    return true;
  }

  private holdBack(from: Socket, to: Socket): void {
    from.pause();
    to.once('drain', () => from.resume());
  }

  private end(link: Link, how: (socket: Socket) => void): void {
    this.links.delete(link);
    how(link.client);
    how(link.server);
  }
}
