import { reserveConsumers } from '../core/broker/message-contract.js';
import { mustBeSchema, type OutputOf, type StandardSchema } from '../core/broker/schema.js';
import { OptionsError } from '../core/errors/errors.js';

/**
 * The contract between the saga and the app that carries out one of its steps. A breaking change gets a new `version`
 * beside the old one, since a running saga ends with the version it began with.
 */
export interface StepContract<Args = unknown, Result = unknown> {
  /** `<app>.<name>`: the app that carries it out, and the name of the step. */
  readonly name: string;
  readonly version: number;
  /**
   * The schema of the arguments, of any library with Standard Schema v1. Applied to the JSON at the saga and again at the
   * step's app. It must leave its own result unchanged.
   */
  readonly args: StandardSchema<unknown, Args>;
  /**
   * The schema of the result of Do, with the same rules. Later steps read it with `s.result(step)`, and Undo with
   * `step.result`. Without it, Do may return any JSON or nothing.
   */
  readonly result?: StandardSchema<unknown, Result> | undefined;
}

/** An event from outside that a saga waits for, such as a person's approval. */
export interface SagaSignal<Payload = unknown> {
  /** 1 to 32 of a-z, 0-9 and -, a letter first. */
  readonly name: string;
  readonly payload: StandardSchema<unknown, Payload>;
}

/** Tells a step from a TCC participant, which has the same fields. Valid across copies of the library. */
const IS_STEP = Symbol.for('nest-dtx.saga-step');

/** Whether a value is the result of `defineStep`. */
export function isStepContract(value: unknown): value is StepContract {
  return typeof value === 'object' && value !== null && IS_STEP in value;
}

/** The names of step queues. A consumer of messages with such a name would share them. */
reserveConsumers(/^saga-/);

/** Suffix of names that collide with the answer queues of sagas. */
const RESERVED = /\.answers$/;
const PART = '[a-z][a-z0-9-]{0,31}';

/**
 * Declares a step. The saga and the app of the step share the declaration.
 * @throws OptionsError for a malformed or reserved name, an invalid version, or a schema without the Standard Schema
 *   interface
 * @example
 *   export const takeStock = defineStep({
 *     name: 'inventory.take-stock', version: 1, args: z.object({ sku: z.string(), quantity: z.int() }),
 *     result: z.object({ lot: z.string() }),
 *   });
 */
export function defineStep<S extends StandardSchema, R extends StandardSchema = StandardSchema>(contract: {
  name: string;
  version: number;
  args: S;
  result?: R;
}): StepContract<OutputOf<S>, OutputOf<R>> {
  const { name, version } = contract;
  if (!new RegExp(`^${PART}\\.${PART}$`).test(name)) {
    throw new OptionsError(
      `malformed name of a saga step: "${name}"; use <app>.<name>, each of 1 to 32 characters: a-z, 0-9 and -, a letter first`,
    );
  }
  if (RESERVED.test(name))
    throw new OptionsError(
      `reserved name of a saga step: "${name}"; <app>.answers is the queue of answers, use another one`,
    );
  mustBeVersion(version, `saga step ${name}`);
  mustBeSchema(contract.args, `saga step ${name}: args`);
  if (contract.result !== undefined) mustBeSchema(contract.result, `saga step ${name}: result`);
  const made = Object.defineProperty({ ...contract }, IS_STEP, { value: true });
  return Object.freeze(made) as unknown as StepContract<OutputOf<S>, OutputOf<R>>;
}

/**
 * Declares a signal. The saga names it in `waitFor`, the sender in `Sagas.signal`.
 * @throws OptionsError for a malformed name, or a schema without the Standard Schema interface
 * @example
 *   export const approval = defineSignal({ name: 'approval', payload: z.object({ by: z.string(), isGiven: z.boolean() }) });
 */
export function defineSignal<S extends StandardSchema>(contract: {
  name: string;
  payload: S;
}): SagaSignal<OutputOf<S>> {
  const { name, payload } = contract;
  if (!new RegExp(`^${PART}$`).test(name))
    throw new OptionsError(
      `malformed name of a saga signal: "${name}"; use 1 to 32 characters: a-z, 0-9 and -, a letter first`,
    );
  mustBeSchema(payload, `saga signal ${name}: payload`);
  return Object.freeze({ ...contract }) as SagaSignal<OutputOf<S>>;
}

/** @throws OptionsError unless it is 1, 2, ... */
export function mustBeVersion(version: number, owner: string): void {
  if (!Number.isInteger(version) || version < 1)
    throw new OptionsError(`invalid version of ${owner}: ${version}; use 1, 2, ...`);
}
