/** Apps in this process, on real databases and a real broker: sagas, steps and the effects of steps. */
import type { INestApplicationContext, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { DataSource, type EntityManager } from 'typeorm';
import type * as Dtx from '../../libs/dtx/src/index.js';
import type * as SagaLibrary from '../../libs/dtx/src/saga/index.js';
import { ROOT } from '../fixtures/app-process.js';
import { built } from '../fixtures/built-library.js';
import { moduleOfSource } from '../fixtures/little-service.js';
import type { AppName, Sandbox } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

/** The library as it is built, or a mutant of it. */
export interface Libraries {
  readonly root: string;
  readonly library: typeof Dtx;
  readonly saga: typeof SagaLibrary;
}

export const librariesOf = (root = ROOT): Libraries => ({
  root,
  library: built('index.js', root),
  saga: built('saga/index.js', root),
});
export const AS_BUILT = librariesOf();
export const { library, saga } = AS_BUILT;

// biome-ignore lint/suspicious/noExplicitAny: arguments and results are those of the test's contract
type Any = any;
type Context = SagaLibrary.SagaStepContext<Any>;

/** The methods of a step's class. Each writes its own effect, unless it is given. */
export interface Methods {
  readonly do?: (tx: EntityManager, args: Any, step: Context) => unknown;
  readonly undo?: ((tx: EntityManager, args: Any, step: Context) => unknown) | null;
  readonly done?: (args: Any, step: Context) => unknown;
}

export interface AppOptions {
  readonly app?: AppName;
  readonly sagas?: readonly SagaLibrary.Saga[];
  readonly steps?: ReadonlyArray<readonly [SagaLibrary.StepContract<Any, Any>, Methods?]>;
  readonly options?: SagaLibrary.SagaOptionsInput;
  readonly core?: Partial<Dtx.CoreOptionsInput>;
  /** Options of the DataSource. */
  readonly source?: object;
  readonly libraries?: Libraries;
  /** Called after the bootstrap, before the app is ready. */
  readonly onCreated?: () => void;
}

/** Writes an effect in the database of the step. */
export const effect = (tx: EntityManager, gid: string, what: string) =>
  tx.query('INSERT INTO effect (gid, what) VALUES (?, ?)', [gid, what]);

/** A class with the given methods. Without `undo` it has one that writes its effect, and null leaves it out. */
export function stepClass(
  contract: SagaLibrary.StepContract<Any, Any>,
  methods: Methods = {},
  { saga }: Pick<Libraries, 'saga'> = AS_BUILT,
): Type {
  class Made {}
  const define = (name: string, method: unknown, decorate: unknown) => {
    const descriptor = { value: (method as () => void).bind(null), writable: true, configurable: true };
    Object.defineProperty(Made.prototype, name, descriptor);
    (decorate as MethodDecorator)(Made.prototype, name, descriptor);
  };
  define(
    'do',
    methods.do ?? ((tx: EntityManager, _: Any, { gid }: Context) => void effect(tx, gid, contract.name)),
    saga.Do(contract),
  );
  const undo = methods.undo === undefined ? defaultUndo(contract.name) : methods.undo;
  if (undo) define('undo', undo, saga.Undo(contract));
  if (methods.done) define('done', methods.done, saga.Done(contract));
  saga.SagaStep(contract)(Made);
  return Made;
}

const defaultUndo =
  (name: string) =>
  (tx: EntityManager, _: Any, { gid }: Context) =>
    effect(tx, gid, `undo ${name}`);

/** One running app. */
export class SagaApp {
  private constructor(
    readonly context: INestApplicationContext,
    readonly source: DataSource,
    readonly libraries: Libraries,
  ) {}

  static async start(
    sandbox: Sandbox,
    {
      app = 'order',
      sagas = [],
      steps = [],
      options,
      core,
      source: given,
      libraries = AS_BUILT,
      onCreated,
    }: AppOptions,
  ): Promise<SagaApp> {
    const { library, saga } = libraries;
    const url = sandbox.databases[app];
    const source = new DataSource({
      type: 'mysql',
      url,
      timezone: 'Z',
      poolSize: 16,
      ...given,
    });
    class Made {}
    const context = await NestFactory.createApplicationContext(
      {
        module: Made,
        providers: steps.map(([contract, methods]) => stepClass(contract, methods, libraries)),
        imports: [
          moduleOfSource(source),
          library.DtxModule.forRoot({
            app,
            rabbitmqUrl: sandbox.rabbitmq,
            scanIntervalMs: 50,
            leaseMs: 500,
            lockWaitSeconds: 1,
            ...core,
          }),
          saga.SagaModule.forRoot({
            sagas,
            callTimeoutMs: 2_000,
            backoff: { firstMs: 50, factor: 1, capMs: 50 },
            ...options,
          }),
        ],
      },
      { logger: process.env.DTX_LOG ? ['error', 'warn'] : false, abortOnError: false },
    );
    onCreated?.();
    const database = context.get(library.Database);
    const broker = context.get(library.Broker);
    await until('the app is ready', () => database.ready && broker.isUp && broker.consumerProblems().length === 0);
    return new SagaApp(context, source, libraries);
  }

  get sagas(): SagaLibrary.Sagas {
    return this.context.get(this.libraries.saga.Sagas);
  }

  /** Starts a saga in a transaction of its own. */
  begin<Input>(definition: SagaLibrary.Saga<Input>, input: Input, gid: string): Promise<string> {
    return this.libraries.library.inTransaction(this.source, (tx) => this.sagas.start(tx, definition, input, { gid }));
  }

  cancel(gid: string, reason = 'CUSTOMER') {
    return this.libraries.library.inTransaction(this.source, (tx) => this.sagas.cancel(tx, gid, reason));
  }

  /** An operator's action on a saga, as `/dtx/transactions/:id` takes it. */
  resolve(gid: string, outcome: 'done' | 'reject'): Promise<string> {
    return this.operate((one) => one.resolve(gid, outcome, { note: 'by hand' }));
  }

  retry(gid: string): Promise<string> {
    return this.operate((one) => one.retry(gid, {}));
  }

  private async operate(act: (one: Dtx.OperationsSource) => Promise<string>): Promise<string> {
    const answers = await Promise.all(this.context.get(this.libraries.library.Operations).sources.map(act));
    return answers.find((answer) => answer !== 'unknown-id') ?? 'unknown-id';
  }

  /** The saga as `/dtx/transactions/:id` shows it. */
  async shown(gid: string): Promise<Dtx.SingleView | undefined> {
    const views = await Promise.all(
      this.context.get(this.libraries.library.Operations).sources.map((source) => source.get(gid)),
    );
    return views.find((view) => view !== null) ?? undefined;
  }

  async close(): Promise<void> {
    await this.context.close();
    if (this.source.isInitialized) await this.source.destroy();
  }
}
