import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { INestApplicationContext, Provider, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { DataSource, type EntityManager } from 'typeorm';
import type * as Dtx from '../../libs/dtx/src/index.js';
import type { Calls } from '../../libs/dtx/src/tcc/participant-calls.js';
import { ROOT } from '../fixtures/app-process.js';
import type { AppName, Sandbox } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

/** The library as it is built, or a mutant of it, with the parts that its index does not show. */
export interface Library
  extends Pick<
    typeof Dtx,
    'DtxModule' | 'TccModule' | 'Tcc' | 'Database' | 'Operations' | 'Rejected' | 'deferStatement'
  > {
  readonly Calls: Type<Calls>;
  readonly decorators: Pick<typeof Dtx, 'TccParticipant' | 'Try' | 'Confirm' | 'Cancel' | 'defineParticipant'>;
}

/** Past the test runner, which would transform it: it is the built code that is to be tried. */
const load = createRequire(import.meta.url);

export function libraryOf(root = ROOT): Library {
  const file = (name: string) => join(root, 'libs', 'dtx', 'dist', name);
  const index = load(file('index.js'));
  return { ...index, Calls: load(file('tcc/participant-calls.js')).Calls, decorators: index };
}

// biome-ignore lint/suspicious/noExplicitAny: arguments and data are whatever the test's contract says
type Method = (tx: EntityManager, args: any, branch: Dtx.TccBranch<any>) => unknown;

/** A participant's class made of three functions. A function that is not given does nothing. */
export function participantOf<Args>(
  { decorators }: Library,
  contract: Dtx.Participant<Args>,
  { withoutTry = false, ...methods }: Partial<Record<'try' | 'confirm' | 'cancel', Method>> & { withoutTry?: boolean },
): Type {
  const { Try, Confirm, Cancel, TccParticipant } = decorators;
  class Made {}
  const phases = [
    ['try', Try()],
    ['confirm', Confirm()],
    ['cancel', Cancel({ withoutTry })],
  ] as const;
  for (const [phase, decorate] of phases) {
    const descriptor = { value: methods[phase] ?? (() => {}), writable: true, configurable: true };
    // A function of its own per class: the mark is on the function.
    descriptor.value = descriptor.value.bind(null) as Method;
    Object.defineProperty(Made.prototype, phase, descriptor);
    decorate(Made.prototype, phase, descriptor);
  }
  TccParticipant(contract)(Made);
  return Made;
}

export interface LittleOptions {
  readonly sandbox: Sandbox;
  readonly library: Library;
  /** The name of the app, whose database it has. Payment by default. */
  readonly app?: AppName;
  readonly providers?: Provider[];
  readonly participates?: Parameters<typeof Dtx.TccModule.forRoot>[0];
  readonly core?: object;
  /** How the app's own DataSource differs. */
  readonly source?: { readonly dateStrings?: boolean; readonly url?: string };
  /** The DataSource is open before the library sees it, as `TypeOrmModule` opens it by default. */
  readonly isOpenBefore?: boolean;
}

/** The library alone in this process, on a real database and broker: initiator and participants in one. */
export class LittleApp {
  private constructor(
    readonly context: INestApplicationContext,
    readonly source: DataSource,
    private readonly library: Library,
  ) {}

  /** @throws the error that stops the application at start */
  static async start(options: LittleOptions): Promise<LittleApp> {
    const { sandbox, library, app: name = 'payment', providers = [], participates = {}, core } = options;
    const source = new DataSource({
      type: 'mysql',
      url: sandbox.databases[name],
      timezone: 'Z',
      poolSize: 32,
      extra: { connectionLimit: 32 },
      ...options.source,
    });
    if (options.isOpenBefore) await source.initialize();
    class Data {}
    class Little {}
    const context = await NestFactory.createApplicationContext(
      {
        module: Little,
        providers,
        imports: [
          { module: Data, global: true, providers: [{ provide: DataSource, useValue: source }], exports: [DataSource] },
          library.DtxModule.forRoot({ app: name, rabbitmqUrl: sandbox.rabbitmq, scanIntervalMs: 20, ...core }),
          library.TccModule.forRoot(participates),
        ],
      },
      { logger: false, abortOnError: false },
    );
    const app = new LittleApp(context, source, library);
    await until('the little app is ready', () => context.get(library.Database).ready && app.calls.isUp);
    return app;
  }

  get tcc(): Dtx.Tcc {
    return this.context.get(this.library.Tcc);
  }

  /** The transaction as `/dtx/transactions/:id` shows it. */
  async shown(gid: string): Promise<Dtx.SingleView | undefined> {
    const views = await Promise.all(this.context.get(this.library.Operations).sources.map((source) => source.get(gid)));
    return views.find((view) => view !== null) ?? undefined;
  }

  get calls(): Calls {
    return this.context.get(this.library.Calls);
  }

  async close(): Promise<void> {
    await this.context.close();
    await this.source.destroy();
  }
}
