import { mustBeSchema, type OutputOf, type StandardSchema } from '../core/broker/schema.js';
import { OptionsError } from '../core/errors/errors.js';
import { problemOfOrder } from './order-of-steps.js';
import type { CallEntry, Saga, SagaEntry, SagaScope, WaitEntry } from './saga-entries.js';
import type { SagaSignal, StepContract } from './step-contract.js';
import { mustBeVersion } from './step-contract.js';

/** Makes the arguments of a step from the data of the saga. Runs again after a crash, so it must be a pure function. */
export type ArgsMaker<Input, Args> = (s: SagaScope<Input>) => NoInfer<Args>;

/** Options of `waitFor`. */
export interface WaitOptions<Payload> {
  /** Time limit in milliseconds. After it the saga is compensated with the reason TIMEOUT. Required before the pivot. */
  readonly withinMs?: number;
  /** Returns a short reason to refuse the payload. The saga is then compensated with it. Only before the pivot. */
  readonly refusal?: (payload: Payload) => string | null | undefined;
}

/** The kinds of steps, for `defineSaga`. */
export interface SagaSteps<Input> {
  /** Has no effect, and may refuse. */
  checking<Args>(step: StepContract<Args, unknown>, args: ArgsMaker<Input, Args>): CallEntry;
  /** Has an effect that its `@Undo` takes back. May refuse. */
  compensable<Args>(step: StepContract<Args, unknown>, args: ArgsMaker<Input, Args>): CallEntry;
  /** The point of no return. May refuse. Once it has committed, the saga only goes forward. */
  pivot<Args>(step: StepContract<Args, unknown>, args: ArgsMaker<Input, Args>): CallEntry;
  /** After the pivot. Must succeed in the end, so it is repeated until it does. */
  retriable<Args>(step: StepContract<Args, unknown>, args: ArgsMaker<Input, Args>): CallEntry;
  /** Waits for a signal. */
  waitFor<Payload>(signal: SagaSignal<Payload>, options?: WaitOptions<Payload>): WaitEntry;
}

const GROUPS_MAX = 100;
const GROUP_MAX = 20;
const DEADLINE_MS_MAX = 366 * 86_400_000;

const steps: SagaSteps<unknown> = {
  checking: (step, args) => entryOf('checking', step, args),
  compensable: (step, args) => entryOf('compensable', step, args),
  pivot: (step, args) => entryOf('pivot', step, args),
  retriable: (step, args) => entryOf('retriable', step, args),
  waitFor: (signal, { withinMs, refusal } = {}) =>
    Object.freeze({ kind: 'wait', signal, withinMs: withinMs ?? null, refusal: refusal ?? null }) as WaitEntry,
};

function entryOf<Args>(kind: CallEntry['kind'], step: StepContract<Args>, args: ArgsMaker<unknown, Args>): CallEntry {
  return Object.freeze({ kind, step, args }) as CallEntry;
}

/**
 * Declares a saga. Its data decides how it goes on after a crash, and no code is replayed. A saga with another order,
 * other steps or other kinds gets a new `version` beside the old one, and running sagas end with the version they began
 * with.
 * @throws OptionsError for an order of steps that could not be carried out or taken back, with the way to correct it
 * @example
 *   export const purchaseSaga = defineSaga({
 *     name: 'order.purchase', version: 1, input: purchaseInput, deadlineMs: 60_000,
 *     steps: ({ compensable, pivot, retriable }) => [
 *       compensable(takeStock, (s) => ({ sku: s.input.sku, quantity: s.input.quantity })),
 *       pivot(takeMoney, (s) => ({ amount: s.input.amount, lot: s.result(takeStock).lot })),
 *       retriable(confirmOrder, (s) => ({ orderId: s.input.orderId })),
 *     ],
 *   });
 */
export function defineSaga<S extends StandardSchema>(definition: {
  name: string;
  version: number;
  input: S;
  deadlineMs: number;
  steps: (kinds: SagaSteps<OutputOf<S>>) => ReadonlyArray<SagaEntry | readonly SagaEntry[]>;
}): Saga<OutputOf<S>> {
  const { name, version, input, deadlineMs } = definition;
  const label = `saga ${name} v${version}`;
  if (!/^[a-z][a-z0-9-]{0,31}\.[a-z][a-z0-9-]{0,31}$/.test(name))
    throw new OptionsError(
      `malformed name of a saga: "${name}"; use <app>.<name>, each of 1 to 32 characters: a-z, 0-9 and -, a letter first`,
    );
  mustBeVersion(version, `saga ${name}`);
  mustBeSchema(input, `${label}: input`);
  if (!Number.isInteger(deadlineMs) || deadlineMs < 100 || deadlineMs > DEADLINE_MS_MAX)
    throw new OptionsError(`${label}: deadlineMs is ${deadlineMs}; use 100 to ${DEADLINE_MS_MAX} milliseconds`);
  const groups = definition.steps(steps as SagaSteps<OutputOf<S>>).map((one) => (isGroup(one) ? [...one] : [one]));
  const problem = problemOfSize(groups) ?? problemOfOrder(groups);
  if (problem) throw new OptionsError(`${label}: ${problem}`);
  const frozen = Object.freeze(groups.map((group) => Object.freeze(group)));
  return Object.freeze({ name, version, input, deadlineMs, groups: frozen }) as Saga<OutputOf<S>>;
}

function problemOfSize(groups: ReadonlyArray<readonly SagaEntry[]>): string | undefined {
  if (groups.length === 0) return 'it has no step; give it at least one';
  if (groups.length > GROUPS_MAX) return `it has ${groups.length} steps in a row, at most ${GROUPS_MAX}`;
  const sizes = groups.map((group) => group.length);
  if (sizes.includes(0)) return 'a group is empty; remove it or give it a step';
  if (Math.max(...sizes) > GROUP_MAX) return `a group has ${Math.max(...sizes)} steps, at most ${GROUP_MAX}`;
  return undefined;
}

function isGroup(one: SagaEntry | readonly SagaEntry[]): one is readonly SagaEntry[] {
  return Array.isArray(one);
}
