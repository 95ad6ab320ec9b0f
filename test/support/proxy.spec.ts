import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TcpProxy } from './proxy.js';
import { until } from './until.js';

let server: Server;
let heard: string;
let proxy: TcpProxy;
const open = new Set<Socket>();

/** A server that answers every line with the same line in capitals. */
beforeEach(async () => {
  heard = '';
  server = createServer((socket) => {
    open.add(socket.on('error', () => {}));
    socket.on('data', (chunk) => {
      heard += chunk;
      socket.write(String(chunk).toUpperCase());
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  proxy = await TcpProxy.start(`amqp://u:p%2F@localhost:${(server.address() as AddressInfo).port}/v%2Fh?heartbeat=3`);
});

afterEach(async () => {
  await proxy.close();
  for (const socket of open) socket.destroy();
  open.clear();
  server.close();
});

/** A client with what it has received and how its connection ended. */
function client() {
  const socket = connect(Number(new URL(proxy.url).port), '127.0.0.1');
  const seen = { socket, text: '', ended: '' };
  open.add(socket);
  socket.on('data', (chunk) => {
    seen.text += chunk;
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    seen.ended = error.code ?? error.message;
  });
  socket.on('close', () => {
    seen.ended ||= 'closed';
  });
  return seen;
}

async function talking(word = 'hello ') {
  const seen = client();
  seen.socket.write(word);
  await until('the answer', () => seen.text === word.toUpperCase());
  return seen;
}

const ended = (seen: { ended: string }) => until('the connection ends', () => seen.ended);

test('the proxy passes bytes both ways, keeps the rest of the URL, and counts', async () => {
  const { port } = new URL(proxy.url);
  expect(proxy.url).toBe(`amqp://u:p%2F@127.0.0.1:${port}/v%2Fh?heartbeat=3`);
  const big = 'x'.repeat(3_000_000);
  await talking(big);
  expect(heard.length).toBe(big.length);
  expect(proxy.counts).toEqual({ accepted: 1, refused: 0, swallowed: 0 });
});

test('the proxy passes on the end of each side', async () => {
  const first = await talking();
  first.socket.end();
  await until('the proxy forgets the connection', () => proxy.open() === 0);
  const second = await talking();
  for (const socket of open) if (socket !== second.socket) socket.destroy();
  expect(await ended(second)).toBe('closed');
});

test('a cut closes open connections and resets new ones until it is healed', async () => {
  const before = await talking();
  proxy.cut();
  await ended(before);
  expect(await ended(client())).toMatch(/ECONNRESET|closed/);
  expect(proxy.counts.refused).toBe(1);
  proxy.heal();
  await talking();
});

test('a reset sends RST, and new connections work', async () => {
  const before = await talking();
  proxy.reset();
  expect(await ended(before)).toBe('ECONNRESET');
  await talking();
});

test('a black hole to the server swallows bytes and the end, and healing resets the connection', async () => {
  const seen = await talking();
  proxy.blackHole('to-server');
  seen.socket.write('lost');
  await until('the bytes are swallowed', () => proxy.counts.swallowed === 4);
  expect([heard, seen.ended, proxy.open()]).toEqual(['hello ', '', 1]);
  proxy.heal();
  expect(await ended(seen)).toBe('ECONNRESET');
  await talking();
});

test('a black hole to the client loses the answers of the server', async () => {
  const seen = await talking();
  proxy.blackHole('to-client');
  seen.socket.write('again');
  await until('the answer is swallowed', () => proxy.counts.swallowed === 5);
  seen.socket.write(' more');
  await until('the server hears on', () => heard === 'hello again more');
  expect([seen.text, seen.ended]).toEqual(['HELLO ', '']);
});

test('a delay keeps the order of bytes and end', async () => {
  const seen = await talking();
  proxy.delay(100);
  const began = performance.now();
  seen.socket.write('one ');
  seen.socket.end('two');
  await until('the server has heard both', () => heard === 'hello one two');
  expect(performance.now() - began).toBeGreaterThan(95);
});

test('a cut by a listener already stops the chunk that it was shown', async () => {
  const seen = await talking();
  const stop = proxy.onBytes('to-server', (chunk) => chunk.includes('COMMIT') && proxy.cut());
  seen.socket.write('COMMIT');
  await ended(seen);
  expect(heard).toBe('hello ');
  proxy.heal();
  stop();
  await talking('COMMIT');
});
