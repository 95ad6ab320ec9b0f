// Fake of `Sagas`: runs the steps in memory, in the order of the scheme. Without deadlines and without retries.
import { MetadataScanner } from '@nestjs/core';
import type { EntityManager } from 'typeorm';
import { checkedJson } from '../core/broker/outgoing-payload.js';
import { acceptedBy } from '../core/broker/schema.js';
import { DtxError, Rejected } from '../core/errors/errors.js';
import { assertGid, newId } from '../core/ids.js';
import { FAILED } from '../saga/forward.js';
import type {
  Saga,
  SagaCancel,
  SagaOutcome,
  SagaSignal,
  SagaSignalled,
  SagaStart,
  SagaStepContext,
  Sagas,
  StepContract,
} from '../saga/index.js';
import { KnownData } from '../saga/known-data.js';
import { type CallEntry, compensableOf, mustWaitFor, nameOf, type SagaEntry } from '../saga/saga-entries.js';
import { argumentsOf } from '../saga/step-arguments.js';
import { METHOD, type MethodMark, STEP } from '../saga/step-decorators.js';
import { resultOf, storedResult } from '../saga/step-results.js';
import { appOf, type FakeOptions, type PublicOf, payloadMaxBytesOf } from './fake-options.js';
import { inFakeTransaction, requireFakeTransaction } from './fake-transaction.js';

/**
 * Stands in for a step of another service. A method that is left out succeeds without effect. A step with a `result` schema
 * needs `do`, unless the schema accepts undefined.
 */
export interface SagaStub<Args, Result = unknown> {
  /** Throw `Rejected` to refuse. Later steps and `undo` get the returned value. */
  do?(args: Args, step: SagaStepContext): Result | Promise<Result>;
  undo?(args: Args, step: SagaStepContext<Result>): unknown;
}

type Method = (tx: EntityManager, args: unknown, step: SagaStepContext<unknown>) => unknown;
type Methods = ReadonlyMap<MethodMark['phase'], Method>;

interface FakeSaga {
  readonly saga: Saga;
  readonly data: KnownData;
  readonly done: Array<{ entry: CallEntry; args: unknown; result: unknown }>;
  readonly signals: Map<string, Map<string, unknown>>;
  /** The group to go on with. */
  next: number;
  hasPassedPivot: boolean;
  outcome: SagaOutcome;
}

/**
 * Fake of `Sagas`. Register every step that the code under test calls, by `step` or `stub`. `outcome` runs a saga as far as it
 * can: to its end, or to a wait without a signal. Each Do and Undo gets a fake transaction.
 * @example
 *   const sagas = new FakeSagas().stub(takeStock, { do: () => { throw new Rejected('OUT_OF_STOCK'); } });
 *   const order = await new Orders(sagas as unknown as Sagas).place(purchase);
 */
export class FakeSagas implements PublicOf<Sagas> {
  private readonly steps = new Map<string, Methods>();
  /** The steps with a class, which live in the app under test. */
  private readonly own = new Set<string>();
  private readonly sagas = new Map<string, FakeSaga>();

  constructor(private readonly options: FakeOptions = {}) {}

  /** Lets an instance of a `@SagaStep` class carry out its step. @throws DtxError for another class */
  step(instance: object): this {
    const contract: StepContract | undefined = Reflect.getMetadata(STEP, instance.constructor);
    if (!contract)
      throw new DtxError(`${instance.constructor.name} is not a saga step; decorate it with @SagaStep(contract)`);
    const methods = new Map<MethodMark['phase'], Method>();
    for (const name of new MetadataScanner().getAllMethodNames(Object.getPrototypeOf(instance))) {
      const method = (instance as Record<string, Method>)[name]!;
      const mark: MethodMark | undefined = Reflect.getMetadata(METHOD, method);
      if (mark) methods.set(mark.phase, method.bind(instance) as Method);
    }
    this.steps.set(keyOf(contract), methods);
    this.own.add(keyOf(contract));
    return this;
  }

  /** Lets a stub carry out a step. */
  stub<Args, Result>(contract: StepContract<Args, Result>, stub: SagaStub<Args, Result> = {}): this {
    const methods = new Map<MethodMark['phase'], Method>([
      ['do', (_, args, step) => stub.do?.(args as Args, step as SagaStepContext)],
      ['undo', (_, args, step) => stub.undo?.(args as Args, step as SagaStepContext<Result>)],
    ]);
    this.steps.set(keyOf(contract), methods);
    this.own.delete(keyOf(contract));
    return this;
  }

  /**
   * As `Sagas.start`. A first step with a class, of the app that the saga is named after, runs in `tx`.
   * @throws DtxError as `Sagas.start`. Rejected of that step. TransactionRequired outside a transaction
   */
  async start<Input>(
    tx: EntityManager,
    saga: Saga<Input>,
    input: Input,
    { gid: given }: SagaStart = {},
  ): Promise<string> {
    requireFakeTransaction(tx, 'Sagas.start');
    const gid = assertGid(given ?? newId());
    if (this.sagas.has(gid)) throw new DtxError(`saga ${gid} exists already; use another gid`);
    const subject = { whole: 'input', misfit: `input does not fit saga ${saga.name} v${saga.version}` };
    const { json } = checkedJson(subject, saga.input, input, payloadMaxBytesOf(this.options));
    const outcome = { gid, status: 'PENDING', isCompensating: false, isWaiting: false } as const;
    const data = new KnownData(saga as Saga, gid, JSON.parse(json));
    const about = { done: [], signals: new Map(), next: 0, hasPassedPivot: false, outcome };
    const one: FakeSaga = { saga: saga as Saga, data, ...about };
    const first = this.joiningStep(one);
    if (first) {
      await this.call(one, first, (work) => work(tx));
      one.next = 1;
    }
    this.sagas.set(gid, one);
    return gid;
  }

  /**
   * Runs the saga as far as it can.
   * @throws DtxError for a step that is not registered, and for arguments or a result that do not fit
   */
  async outcome(gid: string, _waitMs = 0): Promise<SagaOutcome | null> {
    const one = this.sagas.get(gid);
    if (one?.outcome.status === 'PENDING') await this.run(one);
    return one?.outcome ?? null;
  }

  async cancel(tx: EntityManager, gid: string, reason: string): Promise<SagaCancel | null> {
    requireFakeTransaction(tx, 'Sagas.cancel');
    const one = this.sagas.get(gid);
    if (!one) return null;
    if (one.outcome.status !== 'PENDING') return one.outcome.status;
    if (one.hasPassedPivot) return 'TOO_LATE';
    await this.compensate(one, reason);
    return 'CANCELLING';
  }

  /** @throws DtxError as `Sagas.signal` */
  async signal<Payload>(
    tx: EntityManager,
    gid: string,
    signal: SagaSignal<Payload>,
    payload: Payload,
    { id }: { readonly id: string },
  ): Promise<SagaSignalled> {
    requireFakeTransaction(tx, 'Sagas.signal');
    const subject = { whole: 'payload', misfit: `payload does not fit saga signal ${signal.name}` };
    const { json } = checkedJson(subject, signal.payload, payload, payloadMaxBytesOf(this.options));
    const one = this.sagas.get(gid);
    if (!one) throw new DtxError(`cannot signal saga ${gid}: it was not started`);
    mustWaitFor(one.saga, gid, signal.name);
    if (one.outcome.status !== 'PENDING') return 'OVER';
    const known = one.signals.get(signal.name) ?? new Map<string, unknown>();
    one.signals.set(signal.name, known);
    if (known.has(id)) return 'REPEATED';
    if (one.outcome.isCompensating || one.data.has(`signal ${signal.name}`)) return 'OVER';
    known.set(id, JSON.parse(json));
    return 'KEPT';
  }

  /** Forgets all sagas. The steps stay. */
  clear(): void {
    this.sagas.clear();
  }

  private async run(one: FakeSaga): Promise<void> {
    const { groups } = one.saga;
    try {
      for (; one.next < groups.length; one.next++)
        for (const entry of groups[one.next]!) if (!(await this.pass(one, entry))) return;
      one.outcome = { ...one.outcome, status: 'COMPLETED', isWaiting: false };
    } catch (error) {
      if (error instanceof DtxError && !(error instanceof Rejected)) throw error;
      if (one.hasPassedPivot) throw error;
      await this.compensate(one, error instanceof Rejected ? error.reason : FAILED);
    }
  }

  /** False if the saga waits here. */
  private async pass(one: FakeSaga, entry: SagaEntry): Promise<boolean> {
    if (entry.kind === 'wait') {
      const [payload] = one.signals.get(entry.signal.name)?.values() ?? [];
      one.outcome = { ...one.outcome, isWaiting: payload === undefined };
      if (payload === undefined) return false;
      one.data.set(nameOf(entry), payload);
      const reason = entry.refusal?.(payload as never);
      if (reason) throw new Rejected(reason);
      return true;
    }
    await this.call(one, entry, (work) => inFakeTransaction(this.options, work));
    return true;
  }

  /** The first step, if it commits with the start: it stands alone, may be undone, and lives in the app of the saga. */
  private joiningStep({ saga }: FakeSaga): CallEntry | undefined {
    const [entry, sibling] = saga.groups[0]!;
    if (sibling !== undefined || entry?.kind !== 'compensable' || !this.own.has(keyOf(entry.step))) return undefined;
    const isOfApp = entry.step.name.split('.')[0] === saga.name.split('.')[0];
    return isOfApp && !this.methodsOf(entry).has('done') ? entry : undefined;
  }

  private async call(
    one: FakeSaga,
    entry: CallEntry,
    within: (work: (tx: EntityManager) => Promise<unknown>) => Promise<unknown>,
  ): Promise<void> {
    const json = argumentsOf(entry, one.data, payloadMaxBytesOf(this.options));
    const args = acceptedBy(entry.step.args, json, `arguments do not fit ${nameOf(entry)}`);
    const methods = this.methodsOf(entry);
    const result = await within(async (tx) => {
      const returned = await methods.get('do')!(tx, args, this.contextOf(one, undefined));
      return resultOf(entry.step, returned, payloadMaxBytesOf(this.options));
    });
    one.data.set(nameOf(entry), result);
    one.done.push({ entry, args, result });
    if (entry.kind === 'pivot') one.hasPassedPivot = true;
    const done = methods.get('done') as unknown as ((...given: unknown[]) => unknown) | undefined;
    await done?.(args, this.contextOf(one, storedResult(entry.step, result)));
  }

  private async compensate(one: FakeSaga, reason: string): Promise<void> {
    for (const { entry, args, result } of one.done
      .toReversed()
      .filter(({ entry }) => compensableOf([entry]).length > 0)) {
      const context = this.contextOf(one, storedResult(entry.step, result), reason);
      await inFakeTransaction(this.options, async (tx) => this.methodsOf(entry).get('undo')?.(tx, args, context));
    }
    one.outcome = { ...one.outcome, status: 'COMPENSATED', isWaiting: false, reason, decidedAt: new Date() };
  }

  private methodsOf({ step }: CallEntry): Methods {
    const found = this.steps.get(keyOf(step));
    if (found) return found;
    throw new DtxError(
      `FakeSagas does not know step ${keyOf(step)}; register it with sagas.step(instance) or sagas.stub(contract)`,
    );
  }

  private contextOf({ outcome, saga }: FakeSaga, result: unknown, reason?: string): SagaStepContext<unknown> {
    return { gid: outcome.gid, initiator: appOf(this.options), saga: saga.name, result, reason };
  }
}

const keyOf = ({ name, version }: Pick<StepContract, 'name' | 'version'>): string => `${name} v${version}`;
