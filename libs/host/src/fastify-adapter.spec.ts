import 'reflect-metadata';
import { type AddressInfo, connect } from 'node:net';
import { Body, Controller, Get, HttpCode, Module, Post, Req } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { afterEach, describe, expect, it } from 'vitest';
import { absoluteUrl } from './absolute-url.js';
import { RouteTable } from './allowed-methods.js';
import { type AdapterSettings, createAdapter } from './fastify-adapter.js';
import type { HttpRequest } from './http-request-reply.js';
import { Calls } from './in-flight-requests.js';
import { ProblemFilter } from './problem.filter.js';

@Controller('things')
class Things {
  @Get()
  where(@Req() request: HttpRequest): object {
    return { url: absoluteUrl(request, '/things/1'), ip: request.ip };
  }

  @Post()
  @HttpCode(202)
  take(@Body() body: object): object {
    return body;
  }
}

@Module({ controllers: [Things] })
class ThingsModule {}

let app: NestFastifyApplication | undefined;
afterEach(() => app?.close());

async function start(settings: Partial<AdapterSettings> = {}): Promise<string> {
  const routes = new RouteTable();
  const adapter = createAdapter(routes, new Calls(), { trustProxy: [], ...settings });
  app = await NestFactory.create<NestFastifyApplication>(ThingsModule, adapter, { logger: false, bodyParser: false });
  app.useGlobalFilters(new ProblemFilter(routes));
  await app.init();
  await app.getHttpAdapter().getInstance().listen({ port: 0, host: '127.0.0.1' });
  return `http://127.0.0.1:${(app.getHttpServer().address() as AddressInfo).port}`;
}

const post = (url: string, headers: Record<string, string> = {}, body = '{"a":1}') =>
  fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body });

/** Sends bytes and returns all that the server answers until it closes the connection. */
async function raw(url: string, text: string): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1').setEncoding('utf8');
  socket.write(text);
  return (await socket.toArray()).join('');
}

describe('createAdapter', () => {
  it.each(['gzip', 'GZIP', 'br', 'deflate, gzip', 'nonsense'])(
    'answers 415 for a body with content-encoding %s',
    async (encoding) => {
      const answer = await post(`${await start()}/things`, { 'content-encoding': encoding });
      expect(answer.status).toBe(415);
      expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
      expect(answer.headers.get('accept-encoding')).toBe('identity');
    },
  );

  it('accepts a body with content-encoding identity', async () => {
    expect((await post(`${await start()}/things`, { 'content-encoding': 'identity' })).status).toBe(202);
  });

  it.each(['/things', '/nothing', '/%zz'])('sends the security headers with the answer to GET %s', async (path) => {
    const { headers } = await fetch(`${await start()}${path}`);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('x-frame-options')).toBe('DENY');
    expect(headers.get('content-security-policy')).toContain("default-src 'none'");
  });

  it('sends the security headers with the answer to bytes that are not HTTP', async () => {
    expect(await raw(await start(), 'nonsense\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 .*x-content-type-options: nosniff/s);
  });

  it.each([
    ['a head', 'POST /things HTTP/1.1\r\nhost: x\r\n'],
    ['a body', 'POST /things HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{'],
  ])('answers 408 for %s that does not end, and closes the connection', async (_, text) => {
    // Node's own look for late requests is each 30 s, which is longer than the time limit of this test.
    expect(await raw(await start({ requestTimeoutMs: 200 }), text)).toMatch(/^HTTP\/1\.1 408 /);
  });

  const forwarded = { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'shop.example', 'x-forwarded-for': '10.1.2.3' };
  const where = async (url: string) => (await fetch(`${url}/things`, { headers: forwarded })).json();

  it('ignores X-Forwarded headers of a caller that is not a trusted proxy', async () => {
    for (const trustProxy of [[], ['10.0.0.0/8']]) {
      const url = await start({ trustProxy });
      expect(await where(url)).toEqual({ url: `${url}/things/1`, ip: '127.0.0.1' });
      await app!.close();
    }
  });

  it('takes protocol, host and caller from a trusted proxy', async () => {
    const url = await start({ trustProxy: ['127.0.0.0/8'] });
    expect(await where(url)).toEqual({ url: 'https://shop.example/things/1', ip: '10.1.2.3' });
  });

  it('makes URLs below the public URL, whatever the caller sends', async () => {
    const url = await start({ publicUrl: 'https://shop.example/api', trustProxy: ['127.0.0.0/8'] });
    expect(await where(url)).toMatchObject({ url: 'https://shop.example/api/things/1' });
  });
});
