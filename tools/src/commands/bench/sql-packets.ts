// Counts the round trips between apps and a database server: the commands in the streams to the server. A packet of MySQL has a
// header of four bytes, the length and a sequence number. A command starts with number 0
// (https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html).
import { TcpProxy } from '../chaos/tcp-proxy.js';
import { FramedStream, type Framing } from './framed-stream.js';
import { shapeOf } from './statement-shape.js';

const FRAMING: Framing = { header: 4, lengthOf: (header) => header.readUIntLE(0, 3), shown: 4_000 };
/** A payload of this length is continued in the next packet. */
const FULL = 0xff_ff_ff;

/** First byte of a command (https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html). */
const QUERY = 0x03;
const PREPARE = 0x16;
const EXECUTE = 0x17;
const NAMES: Readonly<Record<number, string>> = {
  1: 'quit',
  14: 'ping',
  25: 'close statement',
  31: 'reset connection',
};

/** The commands of one connection. */
export class SqlConnection {
  commands = 0;
  /** How often each command was sent, by its shape. */
  readonly shapes = new Map<string, number>();
  private readonly prepared = new Map<number, string>();
  private preparing: string | null = null;
  private isContinued = false;
  private asked: { readonly shape: string; readonly at: number } | null = null;
  private readonly stream = new FramedStream(FRAMING, (header, payload) => this.onPacket(header, payload));

  constructor(private readonly onAnswer: (shape: string, ms: number) => void = () => {}) {}

  toServer(chunk: Buffer): void {
    this.stream.take(chunk);
  }

  /** The answer to a prepare begins with a zero and the id of the statement, which later executions name. */
  toClient(chunk: Buffer): void {
    if (this.preparing !== null && chunk.length >= 9 && chunk[4] === 0)
      this.prepared.set(chunk.readUInt32LE(5), this.preparing);
    this.preparing = null;
    if (this.asked) this.onAnswer(this.asked.shape, performance.now() - this.asked.at);
    this.asked = null;
  }

  private onPacket(header: Buffer, payload: Buffer): void {
    const isCommand = header[3] === 0 && !this.isContinued;
    this.isContinued = header.readUIntLE(0, 3) === FULL;
    if (!isCommand) return;
    this.commands++;
    const shape = this.shapeOf(payload);
    this.asked = { shape, at: performance.now() };
    this.shapes.set(shape, (this.shapes.get(shape) ?? 0) + 1);
  }

  private shapeOf(payload: Buffer): string {
    const command = payload[0] ?? 0;
    const text = () => shapeOf(payload.subarray(1).toString());
    if (command === QUERY) return text();
    if (command === EXECUTE) return this.prepared.get(payload.readUInt32LE(1)) ?? 'execute';
    if (command !== PREPARE) return NAMES[command] ?? `command ${command}`;
    this.preparing = text();
    return `prepare ${this.preparing}`;
  }
}

/** A proxy before a database server that counts the commands of all connections. */
export class SqlProxy {
  /** Told of each answer: the shape of its command, and the time that the server took. */
  onAnswer: (shape: string, ms: number) => void = () => {};
  private readonly connections = new Map<number, SqlConnection>();

  private constructor(private readonly proxy: TcpProxy) {
    proxy.onBytes('to-server', (chunk, id) => this.at(id).toServer(chunk));
    proxy.onBytes('to-client', (chunk, id) => this.at(id).toClient(chunk));
  }

  static async start(url: string): Promise<SqlProxy> {
    return new SqlProxy(await TcpProxy.start(url));
  }

  get url(): string {
    return this.proxy.url;
  }

  get commands(): number {
    return [...this.connections.values()].reduce((sum, { commands }) => sum + commands, 0);
  }

  /** Commands so far by their shape, over all connections. */
  get shapes(): Map<string, number> {
    const total = new Map<string, number>();
    for (const { shapes } of this.connections.values())
      for (const [shape, count] of shapes) total.set(shape, (total.get(shape) ?? 0) + count);
    return total;
  }

  close(): Promise<void> {
    return this.proxy.close();
  }

  private at(id: number): SqlConnection {
    const known = this.connections.get(id) ?? new SqlConnection((shape, ms) => this.onAnswer(shape, ms));
    this.connections.set(id, known);
    return known;
  }
}
