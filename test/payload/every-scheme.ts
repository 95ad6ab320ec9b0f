import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Controller, type DynamicModule, type INestApplication, type LoggerService, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { DataSource, type EntityManager } from 'typeorm';
import type * as Dtx from '../../libs/dtx/src/index.js';
import { ROOT } from '../support/app-process.js';
import { until } from '../support/until.js';
import type { AppName, World } from '../support/world.js';

/** The library as it is built, past the test runner, which would transform it. */
export const dtx: typeof Dtx = createRequire(import.meta.url)(join(ROOT, 'libs', 'dtx', 'dist', 'index.js'));

// biome-ignore lint/suspicious/noExplicitAny: messages are whatever the test's contract says
type Message = any;

export interface Handlers {
  readonly handle: (tx: EntityManager, message: Message, info: Message) => unknown;
  readonly reject?: (tx: EntityManager, message: Message, no: Dtx.Rejected, info: Message) => unknown;
  readonly beforeAck?: (message: Message, info: Message) => unknown;
}

/** A controller for one contract, made of functions. */
export function controllerOf(
  contract: Dtx.Contract<Message>,
  { handle, reject, beforeAck }: Handlers,
  options: { duplicates?: 'inbox' | 'redis'; consumer?: string } = {},
): Type {
  class Made {}
  const mount = (name: string, value: unknown, decorate: MethodDecorator) => {
    if (!value) return;
    const descriptor = { value: (value as () => unknown).bind(null), writable: true, configurable: true };
    Object.defineProperty(Made.prototype, name, descriptor);
    decorate(Made.prototype, name, descriptor);
  };
  mount('handle', handle, dtx.OnMessage(contract, options) as MethodDecorator);
  mount('reject', reject, dtx.OnRejected(contract, options) as MethodDecorator);
  mount('beforeAck', beforeAck, dtx.BeforeAck(contract, options) as MethodDecorator);
  Controller()(Made);
  return Made;
}

export interface EverySchemeOptions {
  readonly world: World;
  /** Which app it is, and so whose database. */
  readonly name?: AppName;
  readonly controllers?: Type[];
  readonly providers?: Type[];
  /** The options of each module, over those of this file. */
  readonly core?: object;
  readonly localMessage?: object;
  readonly halfMessage?: object;
  readonly reliableMessage?: object;
  readonly tcc?: object;
  readonly notify?: object;
}

/** One application with all schemes but XA, in this process, on a real database, broker and Redis. */
export class EveryScheme {
  private constructor(
    readonly app: INestApplication,
    readonly source: DataSource,
    /** What the application has logged as an error. */
    readonly errorsLogged: readonly string[],
  ) {}

  static async start(options: EverySchemeOptions): Promise<EveryScheme> {
    const { world, name = 'payment', controllers = [], providers = [] } = options;
    const source = new DataSource({ type: 'mysql', url: world.databases[name], timezone: 'Z', poolSize: 16 });
    const errors: string[] = [];
    const module = moduleOf(source, options, { controllers, providers });
    const app = await NestFactory.create(module, new FastifyAdapter(), {
      logger: loggerInto(errors),
      abortOnError: false,
    });
    dtx.connectDtx(app);
    await app.startAllMicroservices();
    await app.init();
    const started = new EveryScheme(app, source, errors);
    const broker = app.get(dtx.Broker);
    await until('the application is ready', () => app.get(dtx.Database).ready && broker.publisher.isUp);
    return started;
  }

  get local(): Dtx.LocalMessages {
    return this.app.get(dtx.LocalMessages);
  }

  get half(): Dtx.HalfMessages {
    return this.app.get(dtx.HalfMessages);
  }

  get reliable(): Dtx.ConfirmedMessages {
    return this.app.get(dtx.ConfirmedMessages);
  }

  get tcc(): Dtx.Tcc {
    return this.app.get(dtx.Tcc);
  }

  get notifications(): Dtx.Notifications {
    return this.app.get(dtx.Notifications);
  }

  async close(): Promise<void> {
    await this.app.close();
    await this.source.destroy();
  }
}

function moduleOf(
  source: DataSource,
  { world, name = 'payment', core, localMessage, halfMessage, reliableMessage, tcc, notify }: EverySchemeOptions,
  { controllers, providers }: { controllers: Type[]; providers: Type[] },
): DynamicModule {
  class Data {}
  class Every {}
  const { rabbitmq: rabbitmqUrl, redis: redisUrl } = world;
  return {
    module: Every,
    controllers,
    providers,
    imports: [
      { module: Data, global: true, providers: [{ provide: DataSource, useValue: source }], exports: [DataSource] },
      dtx.DtxModule.forRoot({ app: name, rabbitmqUrl, redisUrl, scanIntervalMs: 20, ...core }),
      dtx.LocalMessageModule.forRoot(localMessage),
      dtx.HalfMessageModule.forRoot(halfMessage),
      dtx.ConfirmedPublishModule.forRoot(reliableMessage),
      dtx.TccModule.forRoot(tcc),
      dtx.NotifyModule.forService({ service: name, secrets: ['a-secret-of-some-length'], ...notify }),
    ],
  };
}

function loggerInto(errors: string[]): LoggerService {
  const nothing = () => {};
  return { log: nothing, warn: nothing, error: (message: unknown) => void errors.push(String(message)) };
}
