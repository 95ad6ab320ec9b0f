// A TCP proxy with real sockets between an app and a server, so that a command or a test can do to one app's network what
// a cable, a firewall or a switch does to it, while every other app and the caller itself still reach the server.
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * @typedef {'to-server' | 'to-client'} Direction
 * @typedef {{ id: number, client: import('node:net').Socket, server: import('node:net').Socket, holed: boolean, isForgotten: boolean }} Link
 *   one connection: the app's socket, the server's, and whether the stream has lost bytes and can never be whole again
 */

export class TcpProxy {
  /** Connections let through, refused (while cut), and bytes swallowed: what tells that a fault has happened. */
  counts = { accepted: 0, refused: 0, swallowed: 0 };
  /** Connections open right now. */
  open = () => this.#links.size;
  /** @type {Set<Link>} */
  #links = new Set();
  #listeners = { 'to-server': new Set(), 'to-client': new Set() };
  #holes = new Set();
  #isCut = false;
  #delayMs = 0;
  #listening;
  #target;

  constructor(listening, url, target) {
    this.#listening = listening;
    /** The target's URL with host and port of this proxy. */
    this.url = url;
    this.#target = target;
    listening.on('connection', (client) => this.#accept(client));
  }

  /** @param {string} targetUrl @returns {Promise<TcpProxy>} */
  static async start(targetUrl) {
    const url = new URL(targetUrl);
    const target = { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port) };
    const listening = createServer();
    await new Promise((resolve, reject) => listening.once('error', reject).listen(0, '127.0.0.1', resolve));
    url.hostname = '127.0.0.1';
    url.port = String(listening.address().port);
    return new TcpProxy(listening, url.href, target);
  }

  /** Ends every connection and resets new ones at once; the port stays taken, else another process could get it. */
  cut() {
    this.#isCut = true;
    for (const link of this.#links) this.#end(link, (socket) => socket.destroy());
  }

  /**
   * Accepts and swallows the bytes of that direction, the end of the stream too: neither side learns anything.
   * @param {Direction | 'both'} direction
   */
  blackHole(direction) {
    for (const one of ['to-server', 'to-client']) if (direction === 'both' || direction === one) this.#holes.add(one);
  }

  /**
   * From now on every chunk arrives this much later, in both directions, in order.
   * @param {number} ms
   */
  delay(ms) {
    this.#delayMs = ms;
  }

  /** A firewall forgets the connections that are open: from now on their bytes go nowhere. New ones are let through. */
  forget() {
    for (const link of this.#links) link.isForgotten = true;
  }

  /** RST on every existing connection; new ones are let through. */
  reset() {
    for (const link of this.#links) this.#end(link, (socket) => socket.resetAndDestroy());
  }

  /** The network is well again. A connection that lost bytes is reset: nothing could put its stream together again. */
  heal() {
    this.#isCut = false;
    this.#delayMs = 0;
    this.#holes.clear();
    for (const link of this.#links) if (link.holed) this.#end(link, (socket) => socket.resetAndDestroy());
  }

  /**
   * Shows the listener every chunk before it is passed on, with the number of its connection: 1, 2, ... in the order of
   * their opening. What the listener does to the proxy already holds for this chunk: `cut()` and `blackHole()` in it keep
   * the chunk from arriving. Returns what ends the listening.
   * @param {Direction} direction @param {(chunk: Buffer, connection: number) => void} listener
   */
  onBytes(direction, listener) {
    this.#listeners[direction].add(listener);
    return () => this.#listeners[direction].delete(listener);
  }

  async close() {
    const closed = new Promise((resolve) => this.#listening.close(() => resolve()));
    for (const link of this.#links) this.#end(link, (socket) => socket.destroy());
    await closed;
  }

  #accept(client) {
    if (this.#isCut) {
      this.counts.refused++;
      client.on('error', () => {}).resetAndDestroy();
      return;
    }
    const id = ++this.counts.accepted;
    const link = { id, client, server: connect({ ...this.#target, noDelay: true }), holed: false, isForgotten: false };
    client.setNoDelay(true);
    this.#links.add(link);
    this.#pump(link, 'to-server', link.client, link.server);
    this.#pump(link, 'to-client', link.server, link.client);
  }

  #pump(link, direction, from, to) {
    // One chain per direction, so that a chunk, a delay and the end of the stream keep their order.
    let tail = Promise.resolve();
    from.on('error', () => {}); // 'close' follows, and is what the other side hears of
    from.on('data', (chunk) => {
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
  #swallows(link, direction, bytes) {
    if (!this.#links.has(link)) return true;
    if (!this.#holes.has(direction) && !link.isForgotten) return false;
    link.holed = true;
    this.counts.swallowed += bytes;
    return true;
  }

  #end(link, how) {
    this.#links.delete(link);
    how(link.client);
    how(link.server);
  }
}

function holdBack(from, to) {
  from.pause();
  to.once('drain', () => from.resume());
}
