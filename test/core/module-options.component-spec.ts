import 'reflect-metadata';
import { Injectable, type ModuleMetadata } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { DataSource } from 'typeorm';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type * as Dtx from '../../libs/dtx/src/index.js';
import { contractOf, controllerOf, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { closeServices, startService, typeOrm } from '../fixtures/typeorm-service.js';
import { until } from '../fixtures/until.js';

/** Options that come from other providers, and the scope of the modules. */
const library = libraryOf();
const { DtxModule, LocalMessageModule, HalfMessageModule, ConfirmedPublishModule } = library;
const { TccModule, XaModule, NotifyModule, OpsModule } = library;
const contract = contractOf(library, 'module-options');
const TOKEN = 'a token that only the configuration knows';
let sandbox: Sandbox;
let handled: string[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('module_options', { audited: false });
});

afterEach(async () => {
  await closeServices();
  handled = [];
});

/** As `ConfigService` of `@nestjs/config`: it reads at the start of the application. It also makes the options itself. */
@Injectable()
class Settings {
  constructor() {
    this.rabbitmqUrl = sandbox.rabbitmq;
  }
  readonly rabbitmqUrl: string;
  readonly token = TOKEN;

  createDtxOptions(): Dtx.CoreOptionsInput {
    return { app: 'payment', rabbitmqUrl: this.rabbitmqUrl, scanIntervalMs: 100 };
  }
  createLocalMessageOptions = () => ({ attemptsMax: 3 });
  createHalfMessageOptions = () => ({ levelsMs: [1_000] });
  createConfirmedPublishOptions = () => ({ triesMax: 2 });
  createTccOptions = () => ({ timeoutMs: 3_000, participates: [] });
  createXaOptions = () => ({ branches: {} });
  createNotifyOptions = () => ({ service: 'payment', secrets: [this.token.replaceAll(' ', '')] });
  createOpsOptions = () => ({ adminToken: this.token });
}

class SettingsModule {}
const settingsModule = { module: SettingsModule, providers: [Settings], exports: [Settings] };

type Method = Extract<keyof Settings, `create${string}`>;
type Source = (method: Method) => object;

/** The ways to give options later. Each makes the options of one module, by the method of the settings. */
const STYLES: Array<[style: string, source: Source]> = [
  [
    'imports, inject and useFactory',
    (method) => ({
      imports: [settingsModule],
      inject: [Settings],
      useFactory: (settings: Settings) => settings[method](),
    }),
  ],
  ['a useFactory without dependencies', (method) => ({ useFactory: () => new Settings()[method]() })],
  ['an asynchronous useFactory', (method) => ({ useFactory: async () => new Settings()[method]() })],
  ['useClass', () => ({ useClass: Settings })],
  ['imports and useExisting', () => ({ imports: [settingsModule], useExisting: Settings })],
];

function everyModule(source: Source): NonNullable<ModuleMetadata['imports']> {
  const of = (method: Method) => source(method) as never;
  return [
    DtxModule.forRootAsync(of('createDtxOptions')),
    LocalMessageModule.forRootAsync(of('createLocalMessageOptions')),
    HalfMessageModule.forRootAsync(of('createHalfMessageOptions')),
    ConfirmedPublishModule.forRootAsync(of('createConfirmedPublishOptions')),
    TccModule.forRootAsync(of('createTccOptions')),
    XaModule.forRootAsync(of('createXaOptions')),
    NotifyModule.forServiceAsync(of('createNotifyOptions')),
    OpsModule.forRootAsync(of('createOpsOptions')),
  ];
}

const handler = () =>
  controllerOf([[library.OnMessage(contract), async (_: unknown, { gid }: { gid: string }) => void handled.push(gid)]]);

const gidOf = (title: string) => title.replaceAll(/[ ,]+/g, '-');

/** Sends a message in a transaction of a DataSource, and waits for its handler. */
async function sendThrough(app: NestFastifyApplication, source: DataSource, gid: string): Promise<void> {
  const messages = app.get(library.LocalMessages, { strict: false });
  await source.transaction((tx) => messages.append(tx, contract, { gid }));
  await until('the message is handled', () => handled.includes(gid));
}

describe('options from other providers', () => {
  test.each(STYLES)('%s: every module works, with its secrets', async (style, source) => {
    const app = await startService({
      imports: [typeOrm(sandbox.databases.payment), ...everyModule(source)],
      controllers: [handler()],
    });
    await sendThrough(app, app.get(DataSource), gidOf(style));
    const statusWith = async (token: string) => {
      const headers = { authorization: `Bearer ${token}` };
      return (await app.inject({ method: 'GET', url: '/dtx/summary', headers })).statusCode;
    };
    expect([await statusWith(TOKEN), await statusWith('another one')]).toEqual([200, 401]);
  });

  test.each([
    ['a wrong option', { app: 'payment', rabbitmqUrl: 'http://localhost' }, /^core\.rabbitmqUrl: /],
    [
      'an unknown option',
      { app: 'payment', rabbitmqUrl: 'amqp://localhost', nope: 1 },
      /^core: Unrecognized key: "nope"$/,
    ],
    ['no options', undefined, /^DtxModule: the options factory returned undefined/],
  ])('%s stops the start with one line', async (_, options, line) => {
    const imports = [
      typeOrm(sandbox.databases.payment),
      DtxModule.forRootAsync({ useFactory: () => options as never }),
    ];
    const start = startService({ imports });
    await expect(start).rejects.toThrow(line);
    await expect(start).rejects.toBeInstanceOf(library.OptionsError);
  });
});

describe('the scope of the services', () => {
  class Needy {
    constructor(readonly messages: Dtx.LocalMessages) {}
  }
  Injectable()(Needy);
  Reflect.defineMetadata('design:paramtypes', [library.LocalMessages], Needy);

  const options = () => ({ app: 'payment', rabbitmqUrl: sandbox.rabbitmq, isGlobal: false });

  function featureWith(imports: NonNullable<ModuleMetadata['imports']>) {
    class Feature {}
    return { module: Feature, imports, providers: [Needy] };
  }

  test('a module that is not global serves only the modules that import it', async () => {
    const dtx = DtxModule.forRoot(options());
    const messages = LocalMessageModule.forRoot({ isGlobal: false, imports: [dtx] });
    const app = await startService({
      imports: [typeOrm(sandbox.databases.payment), dtx, featureWith([messages])],
      controllers: [handler()],
    });
    expect(app.get(Needy, { strict: false }).messages).toBeInstanceOf(library.LocalMessages);
    await sendThrough(app, app.get(DataSource), 'scoped');
  });

  test('a feature without the import does not see its services', async () => {
    const dtx = DtxModule.forRoot(options());
    const messages = LocalMessageModule.forRoot({ isGlobal: false, imports: [dtx] });
    const imports = [typeOrm(sandbox.databases.payment), dtx, messages, featureWith([])];
    class Service {}
    const start = NestFactory.createApplicationContext(
      { module: Service, imports },
      { logger: false, abortOnError: false },
    );
    await expect(start).rejects.toThrow(/dependencies of the Needy .*LocalMessages/);
  });
});

describe('one DataSource among several', () => {
  test.each([
    ['its name', 'orders'],
    ['its injection token', 'ordersDataSource'],
  ])('%s chooses the DataSource with a name beside the default one', async (way, dataSource) => {
    const fresh = await freshSandbox(`named_${way.length}`, { audited: false });
    const app = await startService({
      imports: [
        typeOrm(fresh.databases.payment),
        typeOrm(fresh.databases.order, { name: 'orders' }),
        DtxModule.forRootAsync({
          dataSource,
          useFactory: () => ({ app: 'payment', rabbitmqUrl: fresh.rabbitmq, scanIntervalMs: 100 }),
        }),
        LocalMessageModule.forRoot(),
      ],
      controllers: [handler()],
    });
    await sendThrough(app, app.get<DataSource>('ordersDataSource'), gidOf(way));
    const tables = async (of: 'order' | 'payment') => (await sql(fresh, of, "SHOW TABLES LIKE 'dtx\\_%'")).length;
    expect(await tables('order')).toBeGreaterThan(0);
    expect(await tables('payment')).toBe(0);
    const wrong = app
      .get(DataSource)
      .transaction((tx) =>
        app.get(library.LocalMessages, { strict: false }).append(tx, contract, { gid: 'elsewhere' }),
      );
    await expect(wrong).rejects.toBeInstanceOf(library.TransactionRequired);
  });

  test.each([
    ['a DataSource that is not there', { dataSource: 'orders' }, /found no DataSource for dataSource: orders/],
    ['no DataSource at all', {}, /found no DataSource; import TypeOrmModule\.forRoot/],
  ])('%s stops the start with one line', async (_, extras, line) => {
    const imports = [DtxModule.forRoot({ app: 'payment', rabbitmqUrl: sandbox.rabbitmq, ...extras })];
    await expect(startService({ imports })).rejects.toThrow(line);
  });
});
