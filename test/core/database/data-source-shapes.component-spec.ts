import 'reflect-metadata';
import { Injectable, OnModuleInit } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { DataSource, EntitySchema, type EntitySubscriberInterface } from 'typeorm';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { contractOf, controllerOf, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { closeServices, startService, typeOrm } from '../../fixtures/typeorm-service.js';
import { until } from '../../fixtures/until.js';

/** The DataSource of a service has any shape that TypeORM and NestJS document, and the service keeps its habits. */
const library = libraryOf();
const contract = contractOf(library, 'data-source-shapes');
const Customer = new EntitySchema<{ id: number }>({
  name: 'customer',
  columns: { id: { type: 'int', primary: true } },
});
let sandbox: Sandbox;
let handled: string[] = [];
let inserted: unknown[] = [];
let seenAtInit: string | undefined;

beforeAll(async () => {
  sandbox = await freshSandbox('shapes', { audited: false });
});

afterEach(async () => {
  await closeServices();
  [handled, inserted, seenAtInit] = [[], [], undefined];
});

/** A subscriber as NestJS documents it, and a service that asks the database at its start. */
class Subscriber implements EntitySubscriberInterface {
  constructor(source: DataSource) {
    source.subscribers.push(this);
  }
  listenTo(): string {
    return Customer.options.name;
  }
  beforeInsert({ entity }: { entity: unknown }): void {
    inserted.push(entity);
  }
}
class Warmup implements OnModuleInit {
  constructor(private readonly source: DataSource) {}
  async onModuleInit(): Promise<void> {
    seenAtInit = await this.source.query('SELECT COUNT(*) AS n FROM customer').then(
      ([row]: [{ n: string }]) => `${row.n} customers`,
      (error: Error) => error.message,
    );
  }
}
for (const type of [Subscriber, Warmup]) {
  Injectable()(type);
  Reflect.defineMetadata('design:paramtypes', [DataSource], type);
}

async function start(options: object, providers = [Subscriber, Warmup]): Promise<NestFastifyApplication> {
  const handle = async (_: unknown, { gid }: { gid: string }) => void handled.push(gid);
  return startService({
    imports: [
      typeOrm(sandbox.databases.payment, { entities: [Customer], synchronize: true, ...options }),
      library.DtxModule.forRoot({ app: 'payment', rabbitmqUrl: sandbox.rabbitmq, scanIntervalMs: 100 }),
      library.LocalMessageModule.forRoot(),
    ],
    controllers: [controllerOf([[library.OnMessage(contract), handle]])],
    providers,
  });
}

/** One transaction with a business row and a message. */
async function place(app: NestFastifyApplication, id: number): Promise<void> {
  await app.get(DataSource).transaction(async (tx) => {
    await tx.getRepository(Customer).insert({ id });
    await app.get(library.LocalMessages, { strict: false }).append(tx, contract, { gid: `g${id}` });
  });
  await until('the message is handled', () => handled.includes(`g${id}`));
}

test('with ordinary initialization subscribers, queries in onModuleInit and repositories work', async () => {
  const app = await start({ dropSchema: true });
  await place(app, 1);
  expect({ inserted, seenAtInit }).toEqual({ inserted: [{ id: 1 }], seenAtInit: '0 customers' });
});

test('with manualInitialization the library keeps the subscribers that services have pushed', async () => {
  const app = await start({ dropSchema: true, manualInitialization: true });
  await place(app, 2);
  expect(inserted).toEqual([{ id: 2 }]);
});

test.each([{}, { manualInitialization: true }])(
  '`dropSchema` and `synchronize` make the tables of the service once, and none is lost: %j',
  async (options) => {
    for (const id of [3, 4]) {
      const app = await start({ ...options, dropSchema: true });
      await place(app, id);
      expect(await app.get(DataSource).getRepository(Customer).find()).toEqual([{ id }]);
      await closeServices();
    }
  },
);

test('a DataSource of type mariadb works', async () => {
  const app = await start({ type: 'mariadb', dropSchema: true });
  await place(app, 5);
  expect(handled).toEqual(['g5']);
});

test('a DataSource for another kind of server is refused in one line', async () => {
  const sqlite = { provide: DataSource, useValue: { options: { type: 'postgres' }, createQueryRunner: () => {} } };
  class Data {}
  const imports = [
    { module: Data, global: true, providers: [sqlite], exports: [DataSource] },
    library.DtxModule.forRoot({ app: 'payment', rabbitmqUrl: sandbox.rabbitmq }),
  ];
  await expect(startService({ imports })).rejects.toThrow(/^DtxModule cannot use a DataSource of type postgres; /);
});
