import { Controller, type DynamicModule, type INestApplication, Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { DataSource, type EntityManager } from 'typeorm';
import { afterEach, beforeAll, expect, test } from 'vitest';
import type * as Testing from '../../libs/dtx/src/testing/index.js';
import { built } from '../fixtures/built-library.js';
import { contractOf, controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';

const library = libraryOf();
const { deliver, durableTables, untilSettled }: typeof Testing = built('testing/index.js');
const { OnMessage, OnRejected, Rejected, LocalMessages } = library;
type Methods = Parameters<typeof controllerOf>[0];

let sandbox: Sandbox;
const closing: Array<() => Promise<void>> = [];

beforeAll(async () => {
  sandbox = await freshSandbox('deliver', { audited: false });
  await sql(sandbox, 'payment', 'CREATE TABLE effect (text VARCHAR(64) NOT NULL) ENGINE=InnoDB');
});

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** An app as a user's test starts it: with a database, and with the address of a broker that does not run. */
async function withoutBroker(
  methods: Methods,
  { started = true, schemes = [] }: { started?: boolean; schemes?: DynamicModule[] } = {},
): Promise<INestApplication> {
  const source = new DataSource({ type: 'mysql', url: sandbox.databases.payment });
  class Data {}
  Module({ providers: [{ provide: DataSource, useValue: source }], exports: [DataSource] })(Data);
  const backoff = { firstMs: 50, factor: 1, capMs: 50 };
  const core = {
    app: 'payment',
    rabbitmqUrl: 'amqp://127.0.0.1:1',
    scanIntervalMs: 50,
    inbox: { attemptsMax: 3, backoff },
  };
  class Service {}
  const imports = [
    { module: Data, global: true },
    library.DtxModule.forRoot(core),
    library.LocalMessageModule.forRoot(),
    ...schemes,
  ];
  const handlers: Type = controllerOf(methods);
  Controller()(handlers);
  Module({ imports, controllers: [handlers] })(Service);
  const app = await NestFactory.create(Service, new FastifyAdapter(), { logger: false, abortOnError: false });
  if (started) await app.init();
  closing.push(async () => {
    await app.close();
    if (source.isInitialized) await source.destroy();
  });
  return app;
}

const record = (tx: EntityManager, { gid }: { gid: string }) => tx.query('INSERT INTO effect VALUES (?)', [gid]);
const effects = async (gid: string) =>
  (await sql(sandbox, 'payment', 'SELECT * FROM effect WHERE text = ?', [gid])).length;

test('a message is handled once, however often it is delivered', async () => {
  const contract = contractOf(library, 'handled');
  const app = await withoutBroker([[OnMessage(contract), record]]);
  const again = () => deliver(app, contract, { gid: 'handled' }, { messageId: 'handled-1' });
  expect([await again(), await again()]).toEqual(['HANDLED', 'HANDLED']);
  expect(await effects('handled')).toBe(1);
  expect(await deliver(app, contract, { gid: 'handled' })).toBe('HANDLED');
  expect(await effects('handled')).toBe(2);
  await untilSettled(app);
});

test('a rejected message runs @OnRejected once, and no effect of @OnMessage stays', async () => {
  const contract = contractOf(library, 'rejected');
  const reject = async (tx: EntityManager, message: { gid: string }) => {
    await record(tx, message);
    throw new Rejected('OUT_OF_STOCK');
  };
  const refund = (tx: EntityManager, _: object, no: { reason: string }) => record(tx, { gid: no.reason });
  const app = await withoutBroker([
    [OnMessage(contract), reject],
    [OnRejected(contract), refund],
  ]);
  const again = () => deliver(app, contract, { gid: 'rejected' }, { messageId: 'rejected-1' });
  expect([await again(), await again()]).toEqual(['REJECTED', 'REJECTED']);
  expect([await effects('rejected'), await effects('OUT_OF_STOCK')]).toEqual([0, 1]);
});

test('a rejection without @OnRejected is parked, and untilSettled names it at once', async () => {
  const contract = contractOf(library, 'unrefused');
  const reject = () => {
    throw new Rejected('OUT_OF_STOCK');
  };
  const app = await withoutBroker([[OnMessage(contract), reject]]);
  expect(await deliver(app, contract, { gid: 'unrefused' }, { messageId: 'unrefused-1' })).toBe('PARKED');
  const since = performance.now();
  await expect(untilSettled(app, { withinMs: 60_000 })).rejects.toThrow(
    /dtx_inbox unrefused-1\.payment\.unrefused is PARKED .*OUT_OF_STOCK.*; PARKED and HELD rows wait for an operator/,
  );
  expect(performance.now() - since).toBeLessThan(30_000);
  await sql(sandbox, 'payment', 'DELETE FROM dtx_inbox');
});

test('a failed message is retried, and untilSettled waits for its effect', async () => {
  const contract = contractOf(library, 'failing');
  let calls = 0;
  const fail = async (tx: EntityManager, message: { gid: string }) => {
    await record(tx, message);
    if (++calls < 2) throw new Error('a passing failure');
  };
  const app = await withoutBroker([[OnMessage(contract), fail]]);
  expect(await deliver(app, contract, { gid: 'failing' })).toBe('RETRYING');
  await untilSettled(app);
  expect([calls, await effects('failing')]).toEqual([2, 1]);
});

test('a message that always fails is parked after the attempts of the options', async () => {
  const contract = contractOf(library, 'hopeless');
  let calls = 0;
  const fail = () => {
    calls++;
    throw new Error('always');
  };
  const app = await withoutBroker([[OnMessage(contract), fail]]);
  expect(await deliver(app, contract, { gid: 'hopeless' })).toBe('RETRYING');
  await expect(untilSettled(app)).rejects.toThrow(/is PARKED after 3 attempts, last error: always/);
  expect(calls).toBe(3);
  await sql(sandbox, 'payment', 'DELETE FROM dtx_inbox');
});

test('a redelivered message is handled by the retry loop', async () => {
  const contract = contractOf(library, 'redelivered');
  const app = await withoutBroker([[OnMessage(contract), record]]);
  expect(await deliver(app, contract, { gid: 'redelivered' }, { redelivered: true })).toBe('RETRYING');
  await untilSettled(app);
  expect(await effects('redelivered')).toBe(1);
});

test('untilSettled lists an outbox row that no broker takes', async () => {
  const contract = contractOf(library, 'unsent');
  const app = await withoutBroker([[OnMessage(contract), record]]);
  await untilSettled(app);
  await app.get(DataSource).transaction((tx) => app.get(LocalMessages).append(tx, contract, { gid: 'unsent' }));
  await expect(untilSettled(app, { withinMs: 300 })).rejects.toThrow(
    /not settled after 300 ms: dtx_outbox [\w-]+ is PENDING/,
  );
  await sql(sandbox, 'payment', 'DELETE FROM dtx_outbox');
});

test('untilSettled sees the open rows of each scheme, and no row of a finished one', async () => {
  const schemes = [
    library.HalfMessageModule.forRoot(),
    library.TccModule.forRoot(),
    library.SagaModule.forRoot(),
    library.XaModule.forRoot(),
    library.NotifyModule.forService({ service: 'payment', secrets: ['a secret of the merchant'] }),
  ];
  const app = await withoutBroker([], { schemes });
  await untilSettled(app);
  for (const { name, openStates } of durableTables.filter(({ name }) => name !== 'dtx_alert')) {
    // A message that is not due yet counts as settled.
    const state = openStates.find((one) => one !== 'SCHEDULED');
    const row = `id = '0-open', state = '${state}', next_attempt_at = '2099-01-01'`;
    // IGNORE fills the other columns.
    await sql(sandbox, 'payment', `INSERT IGNORE INTO ${name} SET ${row}`);
    await expect(untilSettled(app, { withinMs: 50 }), name).rejects.toThrow(`${name} 0-open is ${state}`);
    await sql(sandbox, 'payment', `UPDATE ${name} SET next_attempt_at = NULL WHERE id = '0-open'`);
    await untilSettled(app, { withinMs: 50 });
    await sql(sandbox, 'payment', `DELETE FROM ${name} WHERE id = '0-open'`);
  }
});

test('deliver refuses a message, a consumer and an app that it cannot serve', async () => {
  const contract = contractOf(library, 'served');
  const other = contractOf(library, 'unserved');
  const app = await withoutBroker([[OnMessage(contract), record]]);
  const wrong = deliver(app, contract, { gid: 1 } as never);
  await expect(wrong).rejects.toThrow(/payload does not fit test\.served v1: gid/);
  await expect(deliver(app, other, { gid: 'a' })).rejects.toThrow(
    /cannot deliver test\.unserved v1: this app has no mounted/,
  );
  const nobody = deliver(app, contract, { gid: 'a' }, { consumer: 'payment.nobody' });
  await expect(nobody).rejects.toThrow(/no mounted @OnMessage of payment\.nobody/);
});

test('deliver asks for app.init() in an app that is not started', async () => {
  const contract = contractOf(library, 'unmounted');
  const app = await withoutBroker([[OnMessage(contract), record]], { started: false });
  await expect(deliver(app, contract, { gid: 'a' })).rejects.toThrow(/call app\.init\(\)/);
});

test('with a broker, untilSettled waits for the consumers of a message', async () => {
  const contract = contractOf(library, 'gated');
  let open = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const handle = async (tx: EntityManager, message: { gid: string }) => {
    await gate;
    await record(tx, message);
  };
  const controllers = [controllerOf([[OnMessage(contract), handle]])];
  const service = await LittleService.start({ sandbox, library, controllers });
  closing.push(() => service.close());
  await service.source.transaction((tx) => service.get(LocalMessages).append(tx, contract, { gid: 'gated' }));
  await expect(untilSettled(service.app, { withinMs: 300 })).rejects.toThrow(/dtx_outbox/);
  open();
  await untilSettled(service.app);
  expect(await effects('gated')).toBe(1);
});
