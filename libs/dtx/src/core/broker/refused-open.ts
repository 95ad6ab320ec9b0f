import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Options } from 'amqplib';

const ANSWER_LIMIT_MS = 3_000;
const METHOD_FRAME = 1;
/** Frame type, channel and size precede the payload. One byte ends it. */
const HEADER_BYTES = 7;
const FRAME_END = 0xce;
/** Largest number of channels and size of a frame, as the broker offers them. No heartbeat follows them. */
const LIMITS_BYTES = 6;
/** Methods of class 10 (connection) of AMQP 0-9-1. */
const CONNECTION = 10;
const [START, START_OK, TUNE, TUNE_OK, OPEN, CLOSE] = [10, 11, 30, 31, 40, 50];

/**
 * Asks the broker why it refuses a virtual host: opens it once more and returns the text of the refusal, for example
 * `NOT_ALLOWED - vhost shop not found`. amqplib reports such a refusal without the text. Returns null if the broker
 * opens the virtual host now, or gives no reason in time.
 */
export function reasonOfRefusedOpen(address: Options.Connect): Promise<string | null> {
  const { protocol, hostname = '', port = 5672 } = address;
  const servername = isIP(hostname) ? {} : { servername: hostname };
  const socket =
    protocol === 'amqps' ? connectTls({ host: hostname, port, ...servername }) : connectTcp({ host: hostname, port });
  return new Promise((resolve) => {
    const end = (reason: string | null) => {
      resolve(reason);
      socket.destroy();
    };
    let bytes = Buffer.alloc(0);
    socket.setTimeout(ANSWER_LIMIT_MS, () => end(null));
    socket.on('error', () => end(null)).on('close', () => end(null));
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      for (let frame = firstFrame(bytes); frame; frame = firstFrame(bytes)) {
        bytes = bytes.subarray(frame.length + HEADER_BYTES + 1);
        const reason = answer(socket, frame, address);
        if (reason !== undefined) return end(reason);
      }
    });
    socket.write(Buffer.from('AMQP\x00\x00\x09\x01', 'latin1'));
  });
}

/** The payload of the first complete frame. */
function firstFrame(bytes: Buffer): Buffer | null {
  if (bytes.length < HEADER_BYTES) return null;
  const size = bytes.readUInt32BE(3);
  return bytes.length < HEADER_BYTES + size + 1 ? null : bytes.subarray(HEADER_BYTES, HEADER_BYTES + size);
}

/** Takes one step of the opening. Returns the text of a refusal, null at any other end, undefined if it goes on. */
function answer(socket: Socket, payload: Buffer, address: Options.Connect): string | null | undefined {
  const { username = 'guest', password = 'guest', vhost = '%2F' } = address;
  const method = payload.length >= 4 && payload.readUInt16BE(0) === CONNECTION ? payload.readUInt16BE(2) : 0;
  if (method === START) {
    const login = long(Buffer.from(`\0${username}\0${password}`));
    send(socket, START_OK, [long(Buffer.alloc(0)), short('PLAIN'), login, short('en_US')]);
  } else if (method === TUNE) {
    send(socket, TUNE_OK, [payload.subarray(4, 4 + LIMITS_BYTES), Buffer.alloc(2)]);
    send(socket, OPEN, [short(decodeURIComponent(vhost)), short(''), Buffer.from([0])]);
  } else return method === CLOSE ? payload.toString('utf8', 7, 7 + payload[6]!) : null;
  return undefined;
}

function send(socket: Socket, method: number, fields: readonly Buffer[]): void {
  const payload = Buffer.concat([Buffer.from([0, CONNECTION, 0, method]), ...fields]);
  const header = Buffer.alloc(HEADER_BYTES);
  header[0] = METHOD_FRAME;
  header.writeUInt32BE(payload.length, 3);
  socket.write(Buffer.concat([header, payload, Buffer.from([FRAME_END])]));
}

function short(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}

function long(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
