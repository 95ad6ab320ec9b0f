/** Applications of a user of the library, made as its documentation says, without a call of the library. */
import { type INestApplicationContext, Module, type Provider, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { type MicroserviceOptions, Transport } from '@nestjs/microservices';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { DataSource } from 'typeorm';
import { freePort } from '../../fixtures/free-port.js';
import { type contractOf, libraryOf } from '../../fixtures/little-service.js';
import { type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

export const library = libraryOf();
/** Everything that a test has opened, in order. */
const open: Array<{ close(): Promise<unknown> }> = [];
let count = 0;

export function closing<T extends { close(): unknown }>(one: T): T {
  open.push({ close: async () => one.close() });
  return one;
}

/** Closes the applications of a test, the last one first. */
export async function closeAll(): Promise<void> {
  for (const one of open.splice(0).reverse()) await one.close();
}

export interface Parts {
  readonly controllers?: Type[];
  readonly providers?: Provider[];
  readonly core?: Partial<Parameters<typeof library.DtxModule.forRoot>[0]>;
}

export function moduleOf(sandbox: Sandbox, { controllers = [], providers = [], core = {} }: Parts): Type {
  const source = new DataSource({ type: 'mysql', url: sandbox.databases.payment, timezone: 'Z' });
  closing({ close: () => source.isInitialized && source.destroy() });
  const data = { provide: DataSource, useValue: source };
  @Module({ providers: [data], exports: [DataSource] })
  class Data {}
  const inbox = { attemptsMax: 2, backoff: { firstMs: 50, factor: 1, capMs: 50 } };
  const options = { app: 'payment', rabbitmqUrl: sandbox.rabbitmq, scanIntervalMs: 50, leaseMs: 500, inbox };
  @Module({
    imports: [
      { module: Data, global: true },
      library.DtxModule.forRoot({ ...options, ...core }),
      library.LocalMessageModule.forRoot(),
    ],
    controllers,
    providers,
  })
  class Service {}
  return Service;
}

export const quiet = { logger: false, abortOnError: false } as const;

export async function createHttp(module: Type) {
  return closing(await NestFactory.create(module, new FastifyAdapter(), quiet));
}

/** The ways in which a user starts an application. */
export const STARTS: Record<string, (module: Type) => Promise<INestApplicationContext>> = {
  'an application with HTTP': async (module) => (await createHttp(module)).init(),
  'an application context': async (module) => closing(await NestFactory.createApplicationContext(module, quiet)),
  'a microservice': async (module) => {
    const options = { transport: Transport.TCP, options: { host: '127.0.0.1', port: await freePort() } } as const;
    const app = await NestFactory.createMicroservice<MicroserviceOptions>(module, { ...quiet, ...options });
    closing(app);
    await app.listen();
    return app;
  },
};
export const startContext = STARTS['an application context']!;

/** Appends a message once the application is ready, and returns its gid. */
export async function append(app: INestApplicationContext, contract: ReturnType<typeof contractOf>): Promise<string> {
  await until('the application is ready', () => app.get(library.Database).ready && app.get(library.Broker).isUp);
  const gid = `message-${++count}`;
  await app.get(DataSource).transaction((tx) => app.get(library.LocalMessages).append(tx, contract, { gid }));
  return gid;
}

export async function stateOf(sandbox: Sandbox, gid: string): Promise<string | undefined> {
  const query = 'SELECT state FROM dtx_inbox WHERE gid = ?';
  return (await sql<{ state: string }>(sandbox, 'payment', query, [gid]))[0]?.state;
}

export const untilHandled = (sandbox: Sandbox, gid: string) =>
  until(`${gid} is handled`, async () => (await stateOf(sandbox, gid)) === 'HANDLED');
