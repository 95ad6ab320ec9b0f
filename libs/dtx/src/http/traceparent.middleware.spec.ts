import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import { Body, Controller, Get, type MiddlewareConsumer, Module, type NestModule, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { currentTraceparent } from '../core/trace-and-gid-context.js';
import { TraceparentMiddleware } from './traceparent.middleware.js';

const traceOf = (digit: string) => `00-${digit.repeat(32)}-${digit.repeat(16)}-01`;

@Controller('trace')
class Trace {
  @Get()
  async get() {
    await sleep(1);
    return { traceparent: currentTraceparent() };
  }

  @Post()
  async post(@Body() body: { text: string }) {
    await sleep(1);
    return { traceparent: currentTraceparent(), chars: body.text.length };
  }
}

@Module({ controllers: [Trace] })
class App implements NestModule {
  configure(consumer: MiddlewareConsumer): void {
    consumer.apply(TraceparentMiddleware).forRoutes('{*path}');
  }
}

let app: NestFastifyApplication;
let url: string;
beforeAll(async () => {
  app = await NestFactory.create<NestFastifyApplication>(App, new FastifyAdapter(), { logger: false });
  await app.listen(0, '127.0.0.1');
  url = `${await app.getUrl()}/trace`;
});
afterAll(() => app?.close());

const call = async (traceparent: string, init: RequestInit = {}) => {
  const headers = { ...init.headers, ...(traceparent && { traceparent }) };
  return (await fetch(url, { ...init, headers })).json() as Promise<{ traceparent: string; chars?: number }>;
};

describe('TraceparentMiddleware', () => {
  it('gives each of many concurrent requests its own trace', async () => {
    const traces = ['1', '2', '3', '4', '5', '6'].map(traceOf);
    const seen = await Promise.all(traces.map((trace) => call(trace)));
    expect(seen.map(({ traceparent }) => traceparent)).toEqual(traces);
  });

  it('keeps the trace while a body is read in several parts on a shared connection', async () => {
    const text = 'x'.repeat(500_000);
    const init = { method: 'POST', body: JSON.stringify({ text }), headers: { 'content-type': 'application/json' } };
    const traces = ['a', 'b', 'c', 'd'].map(traceOf);
    const first = await call(traceOf('e'), init);
    const seen = [first, ...(await Promise.all(traces.map((trace) => call(trace, init))))];
    expect(seen).toEqual([traceOf('e'), ...traces].map((traceparent) => ({ traceparent, chars: text.length })));
  });

  it.each(['', 'nonsense', traceOf('F'), '01-abc'])('begins a new trace for the header "%s"', async (header) => {
    const { traceparent } = await call(header);
    expect(traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    expect(traceparent).not.toBe(header);
  });
});
