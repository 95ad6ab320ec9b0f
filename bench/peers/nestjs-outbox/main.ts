// The purchase over `@fullstackhouse/nestjs-outbox` on TypeORM 0.3, one app: node main.js order|payment|inventory. Its outbox calls
// listeners of its own process, so a listener here publishes each event to RabbitMQ.
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { OnEvent, OutboxModule, TransactionalEventEmitter } from '@fullstackhouse/nestjs-outbox';
import {
  TypeORMDatabaseDriverFactory,
  TypeOrmOutboxTransportEvent,
} from '@fullstackhouse/nestjs-outbox-typeorm-driver';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { fastify } from 'fastify';
import { DataSource } from 'typeorm';
import { POOL_SIZE, purchaseOf, started, TABLES, type Wanted } from '../purchase.js';
import { connected, consume, publisherOn } from './queues.js';
import { type EventName, type PurchaseEvent, QUEUES, Steps } from './steps.js';

/** The poll is the only trigger of this outbox on TypeORM, at each of three steps. Its documentation shows 30 s and 10 rows. */
const POLL = { pollingInterval: 50, maxEventsPerPoll: 100 };
const LISTENERS = { retentionPeriod: 86_400_000, maxExecutionTime: 15_000 };

const { app, database, broker, port } = started();
const db = await new DataSource({
  type: 'mysql',
  url: database,
  poolSize: POOL_SIZE,
  timezone: 'Z',
  entities: [TypeOrmOutboxTransportEvent],
  synchronize: true, // TypeORM 0.3.31 refuses the library's migrations by their names
}).initialize();
for (const table of TABLES[app]) await db.query(table);

const names = Object.keys(QUEUES) as EventName[];
const connection = await connected(broker, Object.values(QUEUES).flat());
const publisher = await publisherOn(connection);

const toBroker = ({ name, purchase }: PurchaseEvent) => publisher.publish(QUEUES[name], purchase);

/** The library takes one event per method. */
class ToBroker {
  @OnEvent('order.placed')
  orderPlaced(event: PurchaseEvent): Promise<void> {
    return toBroker(event);
  }

  @OnEvent('stock.taken')
  stockTaken(event: PurchaseEvent): Promise<void> {
    return toBroker(event);
  }

  @OnEvent('money.taken')
  moneyTaken(event: PurchaseEvent): Promise<void> {
    return toBroker(event);
  }

  @OnEvent('purchase.refused')
  purchaseRefused(event: PurchaseEvent): Promise<void> {
    return toBroker(event);
  }
}

@Module({
  imports: [
    OutboxModule.registerAsync({
      useFactory: () => ({
        driverFactory: new TypeORMDatabaseDriverFactory(db),
        events: names.map((name) => ({ name, listeners: LISTENERS })),
        ...POLL,
      }),
      imports: [],
      enableDefaultMiddlewares: false, // they log every event
    }),
  ],
  providers: [ToBroker],
})
class App {}

const nest = await NestFactory.createApplicationContext(App, { logger: ['error', 'warn'] });
const steps = new Steps(db, nest.get(TransactionalEventEmitter));
for (const [queue, handle] of Object.entries(steps.of(app))) await consume(connection, queue, handle);

const http = fastify();
if (app === 'order') {
  http.post<{ Body: Wanted }>('/orders', async ({ body }, reply) => {
    const purchase = purchaseOf(randomUUID(), body);
    await steps.place(purchase);
    return reply.code(202).send({ ...purchase, status: 'PENDING' });
  });
}
http.get('/health/ready', async () => ({ status: 'ok' }));
await http.listen({ port, host: '127.0.0.1' });
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0));
