// Decorators of the class that carries out a step, and the types of its methods.
import 'reflect-metadata';
import { Injectable, SetMetadata } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import type { StepContract } from './step-contract.js';

/** The context of a step's method, beside its arguments. */
export interface SagaStepContext<Result = unknown> {
  readonly gid: string;
  /**
   * The app that began the saga. A gid is unique per initiator only, so an app that carries out steps of several must
   * store data under both.
   */
  readonly initiator: string;
  /** The name of the saga. */
  readonly saga: string;
  /** The result of Do, in `@Undo` and `@Done`. Undefined in `@Do`. */
  readonly result: Result;
  /** Why the saga is compensated, in `@Undo`: the reason of a refusal or of a cancel, or TIMEOUT. */
  readonly reason: string | undefined;
}

// biome-ignore lint/suspicious/noExplicitAny: the compiler reads the method's own types against those of the contract
type Unchecked = any;

/** Do of a step. A contract with `result` fixes its result. */
export type DoMethod<Args, Result> = (
  tx: EntityManager,
  args: Args,
  step: SagaStepContext,
) => unknown extends Result ? unknown : Result | Promise<Result>;

/** Undo of a step. */
export type UndoMethod<Args, Result> = (tx: EntityManager, args: Args, step: SagaStepContext<Result>) => unknown;

/** `@Done` of a step. */
export type DoneMethod<Args, Result> = (args: Args, step: SagaStepContext<Result>) => unknown;

export const STEP = Symbol('dtx saga step');
export const METHOD = Symbol('dtx saga method');

export interface MethodMark {
  readonly phase: 'do' | 'undo' | 'done';
  readonly contract: StepContract;
}

/**
 * Marks a provider as the class that carries out a step. `@Do` and `@Undo` mark its methods. Each runs in one local
 * transaction together with the barrier, through `tx`. It may write only to that database, since the barrier protects
 * nothing else. The barrier keeps repeats, an Undo without its Do, and a Do after its Undo from the class.
 * @example
 *   export @SagaStep(takeStock) class TakeStock {
 *     @Do(takeStock) async take(tx: EntityManager, args: TakeArgs) { ... return { lot }; }
 *     @Undo(takeStock) async putBack(tx: EntityManager, args: TakeArgs, step: SagaStepContext<{ lot: string }>) { ... }
 *   }
 */
export function SagaStep(contract: StepContract<Unchecked, Unchecked>): ClassDecorator {
  return (target) => {
    Injectable()(target);
    SetMetadata(STEP, contract)(target);
  };
}

/** A decorator for methods of the type `Method`. */
type MethodDecorator<Method> = <T extends Method>(
  target: object,
  method: string | symbol,
  descriptor: TypedPropertyDescriptor<T>,
) => void;

function mark(phase: MethodMark['phase'], contract: StepContract): MethodDecorator<Unchecked> {
  return (_target, _method, descriptor) => {
    Reflect.defineMetadata(METHOD, { phase, contract } satisfies MethodMark, descriptor.value!);
  };
}

/**
 * Does the work of a step: `(tx, args, step)`. Throw `Rejected` for a business refusal. `@Undo`, later steps and repeats
 * get the returned value.
 * @example
 *   class TakeStock { @Do(takeStock) async take(tx: EntityManager, args: TakeArgs) { ... } }
 */
export function Do<Args, Result>(contract: StepContract<Args, Result>): MethodDecorator<DoMethod<Args, Result>> {
  return mark('do', contract);
}

/**
 * Takes the work of a compensable step back: `(tx, args, step)`, with the arguments and the result of its Do. Runs only
 * after a Do that has committed. Must be able to succeed. A failure is repeated, and parks the saga in the end.
 * @example
 *   class TakeStock { @Undo(takeStock) async putBack(tx: EntityManager, args: TakeArgs) { ... } }
 */
export function Undo<Args, Result>(contract: StepContract<Args, Result>): MethodDecorator<UndoMethod<Args, Result>> {
  return mark('undo', contract);
}

/**
 * Runs between the commit of Do and its answer: `(args, step)`, without a transaction. It runs at least once before the
 * saga goes on, and again on every repeat. An error fails the call, which then comes again. `BrokerUnavailable` does not
 * count as an attempt. Optional.
 * @example
 *   class TakeMoney { @Done(takeMoney) async notify(args: MoneyArgs, step: SagaStepContext) { ... } }
 */
export function Done<Args, Result>(contract: StepContract<Args, Result>): MethodDecorator<DoneMethod<Args, Result>> {
  return mark('done', contract);
}
