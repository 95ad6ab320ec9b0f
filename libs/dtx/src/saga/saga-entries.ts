// A saga as data: its entries by groups. Pure, without a database.
import type { StandardSchema } from '../core/broker/schema.js';
import { DtxError } from '../core/errors/errors.js';
import type { SagaSignal, StepContract } from './step-contract.js';

/** The known data of a running saga. Arguments of a step are made of it, and of nothing else. */
export interface SagaScope<Input = unknown> {
  readonly gid: string;
  readonly input: Input;
  /**
   * The result of an earlier step.
   * @throws DtxError for a step that is not an earlier one of this saga
   */
  result<Result>(step: StepContract<unknown, Result>): Result;
  /**
   * The payload of a signal that the saga has waited for.
   * @throws DtxError for a signal that it has not waited for yet
   */
  signal<Payload>(signal: SagaSignal<Payload>): Payload;
}

/** How a step behaves when the saga ends otherwise. `wait` calls no app. */
export type StepKind = 'checking' | 'compensable' | 'pivot' | 'retriable' | 'wait';

/** One entry of a saga that calls a step. */
export interface CallEntry {
  readonly kind: Exclude<StepKind, 'wait'>;
  readonly step: StepContract;
  readonly args: (scope: SagaScope<never>) => unknown;
}

/** One entry of a saga that waits for a signal. */
export interface WaitEntry {
  readonly kind: 'wait';
  readonly signal: SagaSignal;
  /** Null: without a limit, after the pivot only. */
  readonly withinMs: number | null;
  readonly refusal: ((payload: never) => string | null | undefined) | null;
}

/** One entry of a saga, made by the functions of `SagaSteps`. */
export type SagaEntry = CallEntry | WaitEntry;

/** A saga: its steps in their order. An array among the entries is a group, whose steps run together. */
export interface Saga<Input = unknown> {
  readonly name: string;
  readonly version: number;
  readonly input: StandardSchema<unknown, Input>;
  /**
   * Time limit in milliseconds from the start to the pivot, without waits. After it the saga is compensated. Without a
   * pivot it is the limit for the whole saga.
   */
  readonly deadlineMs: number;
  /** The entries by groups, in order. */
  readonly groups: ReadonlyArray<readonly SagaEntry[]>;
}

type Groups = Saga['groups'];

/** The name of an entry. A saga has each name once, so the name identifies the entry across versions and deployments. */
export function nameOf(entry: SagaEntry): string {
  return entry.kind === 'wait' ? `signal ${entry.signal.name}` : entry.step.name;
}

/** The index of the group with the pivot. Undefined without one. */
export function pivotGroupOf(groups: Groups): number | undefined {
  const index = groups.findIndex((group) => group.some(({ kind }) => kind === 'pivot'));
  return index < 0 ? undefined : index;
}

/** The entries that call a step, of all groups or of some. */
export function callsOf(groups: Groups): CallEntry[] {
  return groups.flat().filter((entry): entry is CallEntry => entry.kind !== 'wait');
}

/** The compensable entries of each group, in the order of the definition. */
export function compensableOf(group: readonly SagaEntry[]): CallEntry[] {
  return callsOf([group]).filter(({ kind }) => kind === 'compensable');
}

/** The index of the last group that may be undone: all before the pivot, or all without one. -1 if the first one is the pivot. */
export function lastUndoable(groups: Groups): number {
  return (pivotGroupOf(groups) ?? groups.length) - 1;
}

/** @throws DtxError for a signal that the saga never takes, which would be lost without a word */
export function mustWaitFor({ name, version, groups }: Saga, gid: string, signal: string): void {
  if (groups.flat().some((entry) => entry.kind === 'wait' && entry.signal.name === signal)) return;
  throw new DtxError(
    `cannot signal saga ${gid}: saga ${name} v${version} has no waitFor of signal ${signal}; correct the signal or the gid`,
  );
}
