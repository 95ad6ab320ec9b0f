import { Body, Controller, Logger, type MiddlewareConsumer, Module, type NestModule, Post } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { DataSource, type EntityManager } from 'typeorm';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { DeliveryInfo } from '../../libs/dtx/src/index.js';
import { contractOf, controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
const { ConfirmedMessages, LocalMessages, Rejected } = library;
const placed = contractOf(library, 'placed');
const restocked = contractOf(library, 'restocked', { replicated: true });
const TRACE_ID = 'c'.repeat(32);
const TRACEPARENT = `00-${TRACE_ID}-${'d'.repeat(16)}-01`;

/** The HTTP side of a service that knows nothing of status codes. */
@Controller()
class Orders {
  constructor(
    private readonly db: DataSource,
    private readonly messages: InstanceType<typeof LocalMessages>,
    private readonly confirmed: InstanceType<typeof ConfirmedMessages>,
  ) {}

  @Post('orders')
  place(@Body() body: { gid: string }) {
    return this.db.transaction((tx) => this.messages.append(tx, placed, body));
  }

  @Post('restock')
  restock(@Body() body: { gid: string }) {
    return this.db.transaction((tx) => this.confirmed.publish(tx, restocked, body));
  }

  @Post('refused')
  refuse() {
    throw new Rejected('OUT_OF_STOCK');
  }
}
Reflect.defineMetadata('design:paramtypes', [DataSource, LocalMessages, ConfirmedMessages], Orders);

@Module({ controllers: [Orders] })
class Http implements NestModule {
  configure(consumer: MiddlewareConsumer): void {
    consumer.apply(library.TraceparentMiddleware).forRoutes('{*path}');
  }
}

let sandbox: Sandbox;
let broker: TcpProxy;
let service: LittleService;
let url: string;
const delivered = new Map<string, string | null>();
const lines: string[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('service_answers', { audited: false });
  broker = await TcpProxy.start(sandbox.rabbitmq);
  const handle = async (_: EntityManager, { gid }: { gid: string }, delivery: DeliveryInfo) => {
    new Logger('Handler').log(`handled ${gid}`);
    delivered.set(gid, delivery.traceparent);
  };
  service = await LittleService.start({
    sandbox,
    library,
    core: { rabbitmqUrl: broker.url },
    controllers: [controllerOf([[library.OnMessage(placed), handle]])],
    providers: [{ provide: APP_FILTER, useClass: library.DtxExceptionFilter }],
    imports: [Http],
  });
  service.app.useLogger(new library.DtxLogger());
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => lines.push(String(text)) > 0);
  await service.app.listen(0, '127.0.0.1');
  url = await service.app.getUrl();
});

afterAll(async () => {
  vi.restoreAllMocks();
  await service?.close();
  await broker?.close();
});

const post = (path: string, gid: string, headers: Record<string, string> = {}) =>
  fetch(`${url}/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ gid }),
  });

test('the traceparent of a request is in the outbox row and in the delivery, and the log lines have it and the gid', async () => {
  expect((await post('orders', 'traced', { traceparent: TRACEPARENT })).status).toBe(201);
  const rows = await sql(sandbox, 'payment', `SELECT traceparent FROM dtx_outbox WHERE gid = 'traced'`);
  expect(rows).toEqual([{ traceparent: TRACEPARENT }]);
  await until('the message is handled', () => delivered.has('traced'));
  expect(delivered.get('traced')).toBe(TRACEPARENT);
  const line = lines.find((one) => one.includes('handled traced'))!;
  expect(JSON.parse(line)).toMatchObject({ gid: 'traced', traceId: TRACE_ID, traceparent: TRACEPARENT });
});

test('a request without a traceparent begins a trace, which its message carries', async () => {
  expect((await post('orders', 'untraced')).status).toBe(201);
  await until('the message is handled', () => delivered.has('untraced'));
  expect(delivered.get('untraced')).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
});

test('a rejection is answered 409 with its code', async () => {
  const answer = await post('refused', 'refused');
  expect(answer.status).toBe(409);
  expect(await answer.json()).toMatchObject({ statusCode: 409, reason: 'OUT_OF_STOCK' });
});

test('a call that needs the broker is answered 503 with Retry-After while the broker is unavailable', async () => {
  broker.cut();
  await until('the connection is lost', () => !service.get(library.Broker).isUp);
  const answer = await post('restock', 'cut-off');
  expect(answer.status).toBe(503);
  expect(answer.headers.get('retry-after')).toBe('2');
  expect(await answer.json()).toMatchObject({ statusCode: 503, type: 'urn:nest-dtx:unavailable' });
  expect(lines.some((line) => line.includes('POST /restock answered 503: '))).toBe(true);
});
