import 'reflect-metadata';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Controller, type DynamicModule, type INestApplication, type Provider, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { z } from 'zod';
import type * as Dtx from '../../libs/dtx/src/index.js';
import { ROOT } from '../support/app-process.js';
import { until } from '../support/until.js';
import type { AppName, World } from '../support/world.js';

export type Library = typeof Dtx;

/** Past the test runner, which would transform it: it is the built code that is to be tried, or a mutant of it. */
const load = createRequire(import.meta.url);
export const libraryOf = (root = ROOT): Library => load(join(root, 'libs', 'dtx', 'dist', 'index.js'));

export interface ServiceOptions {
  readonly world: World;
  readonly library: Library;
  /** Whose name the service has, and whose database. */
  readonly app?: AppName;
  /** Where the database is reached, if not at its own address. */
  readonly url?: string;
  readonly controllers?: Type[];
  readonly providers?: Provider[];
  readonly core?: Partial<Dtx.CoreOptionsInput>;
  readonly localMessage?: Dtx.LocalMessageOptionsInput;
  readonly halfMessage?: Dtx.HalfMessageOptionsInput;
  readonly xa?: Parameters<Library['XaModule']['forRoot']>[0];
  /** How the service's own DataSource differs from one that says nothing. */
  readonly source?: Partial<DataSourceOptions>;
  /** Before the library opens the DataSource. */
  readonly prepare?: (source: DataSource) => void;
  /** The DataSource is open before the library sees it, as `TypeOrmModule` opens it unless told otherwise. */
  readonly isOpenBefore?: boolean;
}

const SHORT = { firstMs: 100, factor: 1, capMs: 100 };

/** A service of a stranger's: a Nest application with a DataSource and handlers of its own, and every scheme of the library. */
export class LittleService {
  private constructor(
    readonly app: INestApplication,
    readonly source: DataSource,
  ) {}

  static async start(options: ServiceOptions): Promise<LittleService> {
    const { world, library, app: name = 'payment', prepare } = options;
    const url = options.url ?? world.databases[name];
    const source = new DataSource({ type: 'mysql', url, ...options.source } as DataSourceOptions);
    prepare?.(source);
    if (options.isOpenBefore) await source.initialize();
    class Data {}
    class Service {}
    const data = {
      module: Data,
      global: true,
      providers: [{ provide: DataSource, useValue: source }],
      exports: [DataSource],
    };
    const app = await NestFactory.create(
      {
        module: Service,
        controllers: (options.controllers ?? []).map(asController),
        providers: options.providers ?? [],
        imports: [data, ...schemesOf(name, options)],
      },
      new FastifyAdapter(),
      { logger: process.env.DTX_LOG ? ['error', 'warn'] : false, abortOnError: false },
    );
    library.connectDtx(app);
    await app.startAllMicroservices();
    await app.init();
    const service = new LittleService(app, source);
    const database = app.get(library.Database);
    const isUp = () => database.ready && app.get(library.Broker).isUp;
    await until('the service is ready, or refused', () => isUp() || database.problem);
    if (!isUp()) {
      await app.close();
      throw new Error(database.problem);
    }
    return service;
  }

  get<T>(token: Type<T>): T {
    return this.app.get(token);
  }

  async close(): Promise<void> {
    await this.app.close();
    if (this.source.isInitialized) await this.source.destroy();
  }
}

function schemesOf(
  app: AppName,
  { world, library, core, localMessage, halfMessage, xa }: ServiceOptions,
): DynamicModule[] {
  return [
    library.DtxModule.forRoot({
      app,
      rabbitmqUrl: world.rabbitmq,
      redisUrl: world.redis,
      scanIntervalMs: 100,
      leaseMs: 1_000,
      lockWaitSeconds: 1,
      ...core,
      inbox: { backoff: SHORT, ...core?.inbox },
    }),
    library.LocalMessageModule.forRoot(localMessage),
    library.HalfMessageModule.forRoot({ levelsMs: [1_000, 2_000, 3_000], ...halfMessage }),
    library.ConfirmedPublishModule.forRoot(),
    library.TccModule.forRoot({ timeoutMs: 3_000, attemptsMax: 2, backoff: SHORT }),
    ...(xa ? [library.XaModule.forRoot(xa)] : []),
  ];
}

function asController(type: Type): Type {
  Controller()(type);
  return type;
}

/** A contract that the service sends to itself. */
export function contractOf(library: Library, name: string, { replicated = false, app = 'payment' } = {}) {
  return library.defineMessage({
    name: `test.${name}`,
    version: 1,
    schema: z.object({ gid: z.string(), text: z.string().optional() }),
    consumers: [`${app}.${name}`],
    gid: ({ gid }) => gid,
    replicated,
  });
}

type Method = (...args: never[]) => unknown;

/** A controller with one method per decorator. */
export function controllerOf(methods: ReadonlyArray<readonly [decorate: unknown, method: Method]>): Type {
  class Made {}
  for (const [index, [decorate, method]] of methods.entries()) {
    const name = `method${index}`;
    const descriptor = { value: method.bind(null), writable: true, configurable: true };
    (decorate as MethodDecorator)(Made.prototype, name, descriptor);
    Object.defineProperty(Made.prototype, name, descriptor);
  }
  return Made;
}
