import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { INestApplicationContext, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { DataSource, EntitySchema } from 'typeorm';
import type * as Dtx from '../../libs/dtx/src/index.js';
import type { Migration } from '../../libs/dtx/src/index.js';
import type { Decisions } from '../../libs/dtx/src/xa/decision-log-entries.js';
import { ROOT } from '../fixtures/app-process.js';
import { type AppName, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { BRANCHES } from './branches-and-decisions.js';

/** The library as it is built, or a mutant of it. */
export type Library = Pick<
  typeof Dtx,
  | 'DtxModule'
  | 'XaModule'
  | 'Xa'
  | 'Database'
  | 'OutcomeUnknown'
  | 'BrokerUnavailable'
  | 'Operations'
  | 'migrate'
  | 'changesOneRow'
  | 'deferStatement'
  | 'IdempotencyKeys'
  | 'ConfirmedPublishModule'
  | 'ConfirmedMessages'
  | 'defineMessage'
> & {
  readonly witnessMigrations: Migration[];
  readonly Decisions: Type<Decisions>;
};

/** Past the test runner, which would transform it: it is the built code that is to be tried. */
const load = createRequire(import.meta.url);

export function libraryOf(root = ROOT): Library {
  const file = (name: string) => join(root, 'libs', 'dtx', 'dist', name);
  return { ...load(file('index.js')), ...load(file('xa/xa-tables.js')), ...load(file('xa/decision-log-entries.js')) };
}

export interface Effect {
  gid: string;
  n: number;
}
export const Effect = new EntitySchema<Effect>({
  name: 'Effect',
  tableName: 'effect',
  columns: { gid: { type: 'varchar', length: 64, primary: true }, n: { type: 'int' } },
});

export const ALL: readonly AppName[] = ['order', 'payment', 'inventory'];
export type Managers = Parameters<Parameters<Dtx.Xa['run']>[1]>[0];

/** Tables that a transaction of the test writes to in every database: one row per transaction, and two shelves to lock. */
export async function prepareTables(sandbox: Sandbox, library: Library): Promise<void> {
  for (const app of ALL) {
    await sql(sandbox, app, 'CREATE TABLE effect (gid VARCHAR(64) PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB');
    await sql(sandbox, app, 'CREATE TABLE shelf (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB');
    await sql(sandbox, app, 'INSERT INTO shelf VALUES (1, 0), (2, 0)');
  }
  for (const app of BRANCHES) await prepareWitnesses(sandbox.databases[app], library);
}

export async function prepareWitnesses(url: string, library: Library): Promise<void> {
  const source = await new DataSource({ type: 'mysql', url }).initialize();
  await library.migrate(source, 'dtx-xa-witness', library.witnessMigrations);
  await source.destroy();
}

export interface LittleXaOptions {
  readonly sandbox: Sandbox;
  readonly library: Library;
  /** Where a database is reached, if not at its own address: a proxy, say. */
  readonly urls?: Partial<Record<AppName, string>>;
  /** The branch databases by the names that this app has for them, instead of payment and inventory. */
  readonly branches?: Readonly<Record<string, string>>;
  readonly xa?: Dtx.XaOptionsInput;
  readonly schema?: Record<string, number>;
  readonly core?: object;
}

/** The transaction manager alone in this process, on three real databases, with work that the test says. */
export class LittleXa {
  private constructor(
    readonly context: INestApplicationContext,
    private readonly source: DataSource,
    private readonly library: Library,
  ) {}

  static async start(options: LittleXaOptions): Promise<LittleXa> {
    const { sandbox, library, urls = {}, xa = {}, schema = {}, core } = options;
    const source = new DataSource({
      type: 'mysql',
      url: urls.order ?? sandbox.databases.order,
      entities: [Effect],
      timezone: 'Z',
    });
    class Data {}
    class Little {}
    const usual = Object.fromEntries(BRANCHES.map((app) => [app, urls[app] ?? sandbox.databases[app]]));
    const branches = Object.fromEntries(
      Object.entries(options.branches ?? usual).map(([name, url]) => [name, { url, entities: [Effect], schema }]),
    );
    const own = { app: 'order', rabbitmqUrl: sandbox.rabbitmq, scanIntervalMs: 100, leaseMs: 700, lockWaitSeconds: 1 };
    const reconnect = { firstMs: 50, factor: 2, capMs: 200 };
    const times = { timeoutMs: 2_000, callTimeoutMs: 1_500, backoff: { firstMs: 100, factor: 1.5, capMs: 500 } };
    const context = await NestFactory.createApplicationContext(
      {
        module: Little,
        imports: [
          { module: Data, global: true, providers: [{ provide: DataSource, useValue: source }], exports: [DataSource] },
          library.DtxModule.forRoot({ ...own, reconnect, ...core }),
          library.XaModule.forRoot({ ...times, ...xa, branches }),
          library.ConfirmedPublishModule.forRoot(),
        ],
      },
      { logger: false, abortOnError: false },
    );
    const app = new LittleXa(context, source, library);
    await until('the little app is ready', () => context.get(library.Database).ready);
    return app;
  }

  run<T>(gid: string, work: (managers: Managers) => Promise<T>): Promise<T> {
    return this.context.get(this.library.Xa).run(['order', 'payment', 'inventory'], work, { gid });
  }

  /** A person's word about a row, as `/dtx/transactions/{id}/resolve` passes it on. */
  async resolve(id: string, outcome: 'done' | 'reject'): Promise<string | undefined> {
    for (const source of this.context.get(this.library.Operations).sources) {
      const said = await source.resolve(id, outcome, { note: 'looked into it' });
      if (said !== 'unknown-id') return said;
    }
    return undefined;
  }

  async close(): Promise<void> {
    await this.context.close();
    await this.source.destroy();
  }
}

/** The little apps of a spec file. Each starts with the options of the file, and ends with its test. */
export class LittleXas {
  private readonly running = new Set<LittleXa>();

  constructor(private readonly common: () => LittleXaOptions) {}

  async start(options: Partial<LittleXaOptions> = {}): Promise<LittleXa> {
    const app = await LittleXa.start({ ...this.common(), ...options });
    this.running.add(app);
    return app;
  }

  async close(app: LittleXa): Promise<void> {
    this.running.delete(app);
    await app.close();
  }

  async closeAll(): Promise<void> {
    await Promise.all([...this.running].map((app) => this.close(app)));
  }
}

/** Leaves its row in every database. */
export const everywhere = (gid: string) => async (managers: Managers) => {
  for (const app of ALL) await managers[app]!.query('INSERT INTO effect (gid, n) VALUES (?, 1)', [gid]);
};

/** In how many of the three databases the transaction has taken effect: 3 or 0 when all is well. */
export async function effectsOf(sandbox: Sandbox, gid: string): Promise<AppName[]> {
  const rows = await Promise.all(ALL.map((app) => sql(sandbox, app, 'SELECT gid FROM effect WHERE gid = ?', [gid])));
  return ALL.filter((_, index) => rows[index]!.length > 0);
}
