import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { notifyOptions } from './options.js';
import { WebhookClient } from './webhook-client.js';

const BODY = '{"type":"payment.captured"}';
const CHUNKED = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';

describe('WebhookClient.post', () => {
  const servers: Server[] = [];
  const sockets = new Set<Socket>();
  /** Called when Node has parsed the status of an answer, before its body. */
  const onStatus: Array<() => void> = [];
  const tellStatus = () => {
    for (const one of onStatus.splice(0)) one();
  };
  beforeAll(() => subscribe('http.client.response.finish', tellStatus));
  afterAll(() => void unsubscribe('http.client.response.finish', tellStatus));
  const client = new WebhookClient(
    notifyOptions.parse({ service: 'payment', allow: ['127.0.0.0/8'], callTimeoutMs: 9_000 }),
  );
  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    for (const server of servers.splice(0)) server.close();
  });

  async function listen(server: Server, scheme = 'http'): Promise<string> {
    servers.push(server);
    server.on('connection', (socket: Socket) => sockets.add(socket.on('error', () => {})));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  }

  /** A target that reads a call and writes these bytes. It resets the connection once the caller knows the status, or waits. */
  const targetOf = (bytes: string, then: 'reset' | 'wait' | 'reset at once') =>
    listen(
      createServer((socket) => {
        const reset = () => socket.resetAndDestroy();
        if (then === 'reset') onStatus.push(reset);
        socket.once('data', () => socket.write(bytes, then === 'reset at once' ? reset : undefined));
      }),
    );

  it.each<[string, 'reset' | 'wait', string]>([
    ['a part of its body', 'reset', 'HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n1'],
    ['no byte of its body', 'reset', 'HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n'],
    ['a bad chunk', 'wait', `${CHUNKED}ZZZ\r\n`],
    ['a good chunk and a bad one', 'wait', `${CHUNKED}2\r\nok\r\nZZZ\r\n`],
    ['bytes after its end', 'wait', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nmore'],
    ['a body without an end', 'reset', 'HTTP/1.1 200 OK\r\n\r\nbody'],
  ])('returns the status of an answer with %s, then %s', async (_, then, bytes) => {
    expect(await client.post(await targetOf(bytes, then), {}, BODY)).toMatchObject({ status: 200 });
  });

  it('returns a status that is not 2xx in the same way, with its Retry-After', async () => {
    const url = await targetOf('HTTP/1.1 503 No\r\nretry-after: 7\r\ncontent-length: 99\r\n\r\n1', 'reset');
    expect(await client.post(url, {}, BODY)).toEqual({ status: 503, retryAfterMs: 7_000 });
  });

  it('throws if the connection breaks before the status is complete', async () => {
    await expect(client.post(await targetOf('HTTP/1.1 20', 'reset at once'), {}, BODY)).rejects.toThrow(
      /ECONNRESET|hang up/,
    );
  });

  it('names HTTP/2 if the target accepts nothing else', async () => {
    const url = await listen(createHttp2Server().on('sessionError', () => {}));
    await expect(client.post(url, {}, BODY)).rejects.toThrow(/accepts HTTP\/2 only/);
  });

  it('shows the error of the parser for an answer in another protocol', async () => {
    await expect(client.post(await targetOf('SSH-2.0-OpenSSH\r\n', 'wait'), {}, BODY)).rejects.toThrow(
      /[Pp]arse|Expected/,
    );
  });

  it('makes calls at the same time over as many connections, and the next ones over the same', async () => {
    const url = await listen(createHttpServer((_, response) => response.end()));
    for (let round = 0; round < 5; round++) {
      const answers = await Promise.all([1, 2, 3, 4].map(() => client.post(url, {}, BODY)));
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    }
    expect(sockets.size).toBe(4);
  });

  it('closes a connection that nothing uses', async () => {
    const url = await listen(createHttpServer({ keepAliveTimeout: 60_000 }, (_, response) => response.end()));
    await client.post(url, {}, BODY);
    const [socket] = sockets;
    await new Promise((resolve) => socket!.once('close', resolve));
  }, 20_000);
});
