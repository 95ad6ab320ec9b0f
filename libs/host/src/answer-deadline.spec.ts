import 'reflect-metadata';
import { once } from 'node:events';
import { type AddressInfo } from 'node:net';
import { Controller, Get, Logger, Module, Param, Post, Sse } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { concat, NEVER, of } from 'rxjs';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { RouteTable } from './allowed-methods.js';
import { answerInTime } from './answer-deadline.js';
import { createAdapter } from './fastify-adapter.js';
import { Calls } from './in-flight-requests.js';
import { ProblemFilter } from './problem.filter.js';

const WITHIN_MS = 200;
/** Ends the call that is late. */
let finish: (how: 'answer' | 'error') => void;

@Controller('orders')
class Orders {
  @Post(':id')
  async place(@Param('id') id: string): Promise<object> {
    if (id === 'quick') return { id };
    const how = await new Promise<string>((resolve) => {
      finish = resolve;
    });
    if (how === 'error') throw new Error('too late');
    return { id };
  }

  @Sse('events')
  events() {
    return concat(of({ data: 'first' }), NEVER);
  }

  @Get('nothing')
  nothing(): void {}
}

@Module({ controllers: [Orders] })
class OrdersModule {}

let app: NestFastifyApplication;
let url: string;
let lines: string[];

beforeEach(async () => {
  lines = [];
  for (const level of ['warn', 'error'] as const)
    vi.spyOn(Logger.prototype, level).mockImplementation((line: string) => void lines.push(line));
  const routes = new RouteTable();
  const filter = new ProblemFilter(routes);
  const adapter = createAdapter(routes, new Calls(), { trustProxy: [] });
  answerInTime(adapter, (...of) => filter.answer(...of), WITHIN_MS);
  app = await NestFactory.create<NestFastifyApplication>(OrdersModule, adapter, { logger: false, bodyParser: false });
  app.useGlobalFilters(filter);
  await app.init();
  await app.getHttpAdapter().getInstance().listen({ port: 0, host: '127.0.0.1' });
  url = `http://127.0.0.1:${(app.getHttpServer().address() as AddressInfo).port}`;
});

afterEach(() => app.close());

test.each(['answer', 'error'] as const)(
  'a late call is answered as unknown with its remedy in the log, and its own %s does no harm',
  async (how) => {
    const answer = await fetch(`${url}/orders/17?x=1`, { method: 'POST' });
    expect([answer.status, await answer.json()]).toMatchObject([503, { instance: '/orders/17' }]);
    expect(lines).toEqual([
      expect.stringMatching(/POST \/orders\/:id .* not answered within 200 ms; it goes on, .* same key/),
    ]);
    finish(how);
    expect((await fetch(`${url}/orders/quick`, { method: 'POST' })).status).toBe(201);
    expect(lines.filter((line) => !line.includes('too late'))).toHaveLength(1);
  },
);

test('a call that is answered in time keeps its answer, and nothing follows', async () => {
  const answer = await fetch(`${url}/orders/quick`, { method: 'POST' });
  expect([answer.status, await answer.json()]).toEqual([201, { id: 'quick' }]);
  expect((await fetch(`${url}/orders/nothing`)).status).toBe(200);
});

test('an answer that has begun goes on', async () => {
  const stop = new AbortController();
  const answer = await fetch(`${url}/orders/events`, { signal: stop.signal });
  const reader = answer.body!.getReader();
  const { value } = await reader.read();
  expect(new TextDecoder().decode(value)).toContain('first');
  const more = reader.read().then(
    () => 'more',
    () => 'cut',
  );
  const next = await Promise.race([more, once(AbortSignal.timeout(2 * WITHIN_MS), 'abort').then(() => 'open')]);
  expect(next).toBe('open');
  stop.abort();
  expect(await more).toBe('cut');
});
