// An application at its start: calls before its database is open, and a stop before that.
import { NestFactory } from '@nestjs/core';
import { DataSource } from 'typeorm';
import { beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { libraryOf, moduleOfSource } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';

const library = libraryOf();
const contract = library.defineMessage({
  name: 'test.early',
  version: 1,
  schema: z.object({ gid: z.string() }),
  consumers: ['payment.early'],
  gid: ({ gid }) => gid,
});
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await freshSandbox('early_calls', { audited: false });
});

async function service() {
  const source = new DataSource({ type: 'mysql', url: sandbox.databases.payment });
  await source.initialize();
  class Service {}
  const imports = [
    moduleOfSource(source),
    library.DtxModule.forRoot({ app: 'payment', rabbitmqUrl: sandbox.rabbitmq }),
    library.LocalMessageModule.forRoot({}),
  ];
  const app = await NestFactory.createApplicationContext({ module: Service, imports }, { logger: false });
  const close = async () => {
    await app.close();
    await source.destroy();
  };
  return { app, source, close };
}

test('a call before the database is open fails as unavailable, and a script can wait', async () => {
  const { app, source, close } = await service();
  const append = () =>
    source.transaction((tx) => app.get(library.LocalMessages).append(tx, contract, { gid: 'early' }));
  const early = await append().catch((error: unknown) => error);
  expect(library.isUnavailable(early)).toBe(true);
  expect(String(early)).toContain('wait for DtxDatabase.untilReady()');
  await app.get(library.DtxDatabase).untilReady();
  await append();
  await close();
});

test('an application that stops before its database is open begins nothing behind its stop', async () => {
  const { app, close } = await service();
  const database = app.get(library.DtxDatabase);
  const begun: string[] = [];
  database.onReady(() => begun.push('a loop'));
  const waiting = expect(database.untilReady()).rejects.toThrow('stopped before its database was open');
  await close();
  await waiting;
  // `close` has waited for the open, which ends without its listeners.
  expect([database.ready, begun]).toEqual([false, []]);
});
