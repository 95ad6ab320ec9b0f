// Counts the messages that apps publish: the `basic.publish` methods in the streams to the broker. A frame of AMQP 0-9-1 has a
// header of seven bytes (type, channel, length) and one byte at its end
// (https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, 4.2.3).
import { TcpProxy } from '../chaos/tcp-proxy.js';
import { FramedStream, type Framing } from './framed-stream.js';

const FRAMING: Framing = {
  preamble: 8, // "AMQP" and the version
  header: 7,
  lengthOf: (header) => header.readUInt32BE(3) + 1,
  shown: 4,
};
const METHOD = 1;
/** Class 60, method 40. */
const PUBLISH = 0x00_3c_00_28;

/** A proxy before the broker that counts the published messages of all connections. */
export class AmqpProxy {
  published = 0;
  private readonly streams = new Map<number, FramedStream>();

  private constructor(private readonly proxy: TcpProxy) {
    proxy.onBytes('to-server', (chunk, id) => this.at(id).take(chunk));
  }

  static async start(url: string): Promise<AmqpProxy> {
    return new AmqpProxy(await TcpProxy.start(url));
  }

  get url(): string {
    return this.proxy.url;
  }

  close(): Promise<void> {
    return this.proxy.close();
  }

  private at(id: number): FramedStream {
    const known = this.streams.get(id) ?? new FramedStream(FRAMING, (...frame) => this.onFrame(...frame));
    this.streams.set(id, known);
    return known;
  }

  private onFrame(header: Buffer, payload: Buffer): void {
    if (header[0] === METHOD && payload.length === 4 && payload.readUInt32BE(0) === PUBLISH) this.published++;
  }
}
