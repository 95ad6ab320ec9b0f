// Counts the round trips between an app and its database: the commands in the stream to the server. MySQL's packets have a
// header of four bytes, the length and a sequence number. A command starts with number 0
// (https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html).
import { TcpProxy } from '../chaos/tcp-proxy.js';

const HEADER = 4;
/** A payload of this length is continued in the next packet. */
const FULL = 0xff_ff_ff;

/** Finds the commands in one stream, whose chunks may end anywhere. */
export class CommandCounter {
  commands = 0;
  private rest = Buffer.alloc(0);
  private skip = 0;
  private isContinued = false;

  take(chunk: Buffer): void {
    let data = this.rest.length > 0 ? Buffer.concat([this.rest, chunk]) : chunk;
    for (;;) {
      const skipped = Math.min(this.skip, data.length);
      this.skip -= skipped;
      data = data.subarray(skipped);
      if (this.skip > 0 || data.length < HEADER) break;
      this.skip = data.readUIntLE(0, 3);
      if (data[3] === 0 && !this.isContinued) this.commands++;
      this.isContinued = this.skip === FULL;
      data = data.subarray(HEADER);
    }
    this.rest = Buffer.from(data);
  }
}

/** A proxy before a database server that counts the commands of all connections. */
export class CountingProxy {
  private readonly counters = new Map<number, CommandCounter>();

  private constructor(private readonly proxy: TcpProxy) {
    proxy.onBytes('to-server', (chunk, connection) => {
      let counter = this.counters.get(connection);
      if (!counter) this.counters.set(connection, (counter = new CommandCounter()));
      counter.take(chunk);
    });
  }

  static async start(url: string): Promise<CountingProxy> {
    return new CountingProxy(await TcpProxy.start(url));
  }

  get url(): string {
    return this.proxy.url;
  }

  get commands(): number {
    return [...this.counters.values()].reduce((sum, { commands }) => sum + commands, 0);
  }

  close(): Promise<void> {
    return this.proxy.close();
  }
}
