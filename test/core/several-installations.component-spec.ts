import 'reflect-metadata';
import type { Type } from '@nestjs/common';
import { Controller, Injectable } from '@nestjs/common';
import { DataSource, type EntityManager } from 'typeorm';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type * as Dtx from '../../libs/dtx/src/index.js';
import { contractOf, controllerOf, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { closeServices, startService, typeOrm } from '../fixtures/typeorm-service.js';
import { until } from '../fixtures/until.js';

/** One application with two databases: each has a `DtxModule` with its own app name. */
const library = libraryOf();
const { DtxModule, LocalMessageModule, TccModule } = library;
const toOrder = contractOf(library, 'to-order', { app: 'order' });
const toPayment = contractOf(library, 'to-payment');
const funds = library.defineParticipant({ name: 'payment.funds', version: 1, args: z.object({}) });
const bills = library.defineParticipant({ name: 'order.bills', version: 1, args: z.object({}) });
let sandbox: Sandbox;
let handled: string[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('two_databases', { audited: false });
});

afterEach(async () => {
  await closeServices();
  handled = [];
});

type App = 'order' | 'payment';

/** Notes the database in which a piece of work runs. */
const noted = (what: string) => async (tx: EntityManager) => {
  const [row] = await tx.query('SELECT DATABASE() AS name');
  const app = Object.entries(sandbox.databases).find(([, url]) => url.endsWith(`/${row.name}`))![0];
  handled.push(`${what} in ${app}`);
};

function participantOf(contract: typeof funds, what: string): Type {
  @library.TccParticipant(contract)
  class Made {}
  for (const [name, decorate] of [
    ['try', library.TccTry()],
    ['confirm', library.TccConfirm()],
    ['cancel', library.TccCancel()],
  ] as const) {
    const descriptor = { value: noted(`${name} of ${what}`), writable: true, configurable: true };
    Object.defineProperty(Made.prototype, name, descriptor);
    (decorate as MethodDecorator)(Made.prototype, name, descriptor);
  }
  return Made;
}

class Services {
  constructor(
    readonly messages: Dtx.LocalMessages,
    readonly tcc: Dtx.Tcc,
  ) {}
}
Injectable()(Services);
Reflect.defineMetadata('design:paramtypes', [library.LocalMessages, library.Tcc], Services);
/** A provider of each feature. Nest injects the services of the library that its module imports. */
class OfOrder extends Services {}
class OfPayment extends Services {}

/** A feature of the application, with the modules of its own database. */
function feature(services: Type, app: App, contract: Dtx.DtxContract<never>, participant: Type) {
  class Feature {}
  const dtx = DtxModule.forRoot({
    app,
    dataSource: app,
    rabbitmqUrl: sandbox.rabbitmq,
    scanIntervalMs: 100,
    isGlobal: false,
  });
  // Both ways to say which DtxModule a scheme uses.
  const own = { isGlobal: false, ...(app === 'order' ? { imports: [dtx] } : { dataSource: app }) };
  const controller = controllerOf([[library.OnMessage(contract), noted(contract.name)]]);
  Controller()(controller);
  Injectable()(participant);
  return {
    module: Feature,
    imports: [dtx, LocalMessageModule.forRoot(own), TccModule.forRoot(own)],
    controllers: [controller],
    providers: [participant, services],
  };
}

const databases = () => (['order', 'payment'] as const).map((app) => typeOrm(sandbox.databases[app], { name: app }));

describe('one application with two databases', () => {
  test('messages go through the database of their sender to the database of their consumer', async () => {
    const app = await startTwo();
    const send = (from: typeof Services, database: App, contract: typeof toOrder) =>
      app
        .get<DataSource>(`${database}DataSource`)
        .transaction((tx) => app.get(from, { strict: false }).messages.append(tx, contract, { gid: 'one' }));
    await send(OfOrder, 'order', toPayment);
    await send(OfPayment, 'payment', toOrder);
    await until('both messages are handled', () => handled.length === 2);
    expect(handled.sort()).toEqual(['test.to-order in order', 'test.to-payment in payment']);
    for (const database of ['order', 'payment'] as const)
      await until('the receipt has arrived at the sender', async () => {
        const [row] = await sql<{ state: string }>(sandbox, database, 'SELECT state FROM dtx_outbox');
        return row?.state === 'DONE';
      });
  });

  test('a TCC transaction of one database has branches in both', async () => {
    const app = await startTwo();
    const outcome = await app.get(OfOrder, { strict: false }).tcc.run({}, (calls) => {
      calls.call(funds, {});
      calls.call(bills, {});
    });
    expect(outcome).toMatchObject({ status: 'CONFIRMED' });
    await until('both branches are confirmed', () => handled.filter((one) => one.startsWith('confirm')).length === 2);
    expect(new Set(handled)).toEqual(
      new Set([
        'try of funds in payment',
        'try of bills in order',
        'confirm of funds in payment',
        'confirm of bills in order',
      ]),
    );
  });

  function startTwo() {
    return startService({
      imports: [
        ...databases(),
        feature(OfOrder, 'order', toOrder as never, participantOf(bills, 'bills')),
        feature(OfPayment, 'payment', toPayment as never, participantOf(funds, 'funds')),
      ],
    });
  }
});

test('a module that names the DataSource of no DtxModule stops the start', async () => {
  const messages = LocalMessageModule.forRoot({ dataSource: 'elsewhere' });
  await expect(startService({ imports: [...databases(), messages] })).rejects.toThrow(
    /LocalMessageModule: no DtxModule has dataSource: elsewhere; .*those that exist \(order, payment\)/,
  );
});

test('a participant without TccModule stops the start', async () => {
  const dtx = DtxModule.forRoot({ app: 'order', dataSource: 'order', rabbitmqUrl: sandbox.rabbitmq });
  const participant = participantOf(bills, 'bills');
  Injectable()(participant);
  await expect(startService({ imports: [...databases(), dtx], providers: [participant] })).rejects.toThrow(
    /^@TccParticipant on Made needs TccModule; add TccModule\.forRoot\(\) to the imports$/,
  );
});

describe('two DtxModules that would disturb each other stop the start', () => {
  const core = (app: string, extras: object = {}) =>
    DtxModule.forRoot({ app, rabbitmqUrl: sandbox.rabbitmq, isGlobal: false, ...extras });

  test.each([
    [
      'two global ones',
      () => [
        core('order', { dataSource: 'order', isGlobal: true }),
        core('payment', { dataSource: 'payment', isGlobal: true }),
      ],
      /two DtxModules are global; set isGlobal: false/,
    ],
    [
      'one app name for both',
      () => [core('order', { dataSource: 'order' }), core('order', { dataSource: 'payment' })],
      /two DtxModules have app: order/,
    ],
    [
      'one DataSource for both',
      () => [core('order', { dataSource: 'order' }), core('payment', { dataSource: 'orderDataSource' })],
      /use one DataSource/,
    ],
  ])('%s', async (_, modules, line) => {
    await expect(startService({ imports: [...databases(), ...modules()] })).rejects.toThrow(line);
  });
});
