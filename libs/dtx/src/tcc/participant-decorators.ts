// Decorators of a TCC participant's class and its methods.
import 'reflect-metadata';
import { Injectable, SetMetadata } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import type {
  ConfirmedMethod,
  ParticipantMethods,
  SecondMethod,
  TccBranch,
  TccMethods,
  TryMethod,
} from './participant-class-types.js';
import type { Participant } from './participant-contract.js';

// biome-ignore lint/suspicious/noExplicitAny: without a contract, arguments and data are of the participant's own types; the contract checks the former at run time
type Unchecked = any;

export const PARTICIPANT = Symbol('dtx tcc participant');
export const METHODS = Symbol('dtx tcc methods');
export const PHASE = Symbol('dtx tcc phase');

export interface PhaseMark {
  readonly phase: 'try' | 'confirm' | 'cancel' | 'confirmed';
  readonly withoutTry: boolean;
  /** The contract that types the method, if it was given. */
  readonly contract?: Participant | undefined;
}

/**
 * Marks a provider as a participant in TCC transactions, with three methods. Each method runs in one local transaction
 * together with the barrier, through `tx`. It may write only to that database, since the barrier protects nothing else.
 * The barrier keeps repeats, an empty rollback (Cancel before Try) and a suspended Try (after its Cancel) from the
 * class. With the names of the methods, the compiler checks the class against the contract. A missing method, other
 * arguments, and a Confirm or Cancel that expects another result of Try are errors.
 * @param methods names of the methods. Without it, `@TccTry`, `@TccConfirm` and `@TccCancel` mark them
 * @example
 *   export @TccParticipant(fundsContract, { try: 'freeze', confirm: 'capture', cancel: 'release' }) class FreezeFunds {
 *     freeze(tx: EntityManager, args: FreezeArgs, branch: TccBranch) { ... }
 *     capture(tx: EntityManager, args: FreezeArgs, branch: TccBranch) { ... }
 *     release(tx: EntityManager, args: FreezeArgs, branch: TccBranch) { ... }
 *   }
 */
export function TccParticipant<Args, Result, const Names extends TccMethods>(
  contract: Participant<Args, Result>,
  methods: Names,
): <Instance>(
  target: (new (
    ...injected: Unchecked[]
  ) => Instance) &
    (new (
      ...injected: Unchecked[]
    ) => ParticipantMethods<Args, Result, Names, NoInfer<Instance>>),
) => void;
export function TccParticipant(contract: Participant<Unchecked, Unchecked>): ClassDecorator;
export function TccParticipant(contract: Participant<Unchecked, Unchecked>, methods?: TccMethods): ClassDecorator {
  return (target) => {
    Injectable()(target);
    SetMetadata(PARTICIPANT, contract)(target);
    if (methods) SetMetadata(METHODS, methods)(target);
  };
}

/** A decorator for methods of the type `Method`. */
type PhaseDecorator<Method> = <T extends Method>(
  target: object,
  method: string | symbol,
  descriptor: TypedPropertyDescriptor<T>,
) => void;

type AnyMethod = (tx: EntityManager, args: Unchecked, branch: TccBranch<Unchecked>) => unknown;
type DataOf<Result> = unknown extends Result ? Unchecked : Result;

function mark(phase: PhaseMark['phase'], contract?: Participant, withoutTry = false): PhaseDecorator<Unchecked> {
  return (_target, _method, descriptor) => {
    Reflect.defineMetadata(PHASE, { phase, withoutTry, contract } satisfies PhaseMark, descriptor.value!);
  };
}

/**
 * Checks and reserves (锁定或者预留). Throw `Rejected` for a business refusal. Confirm and Cancel see the returned value.
 * @param contract of the class. The compiler then checks arguments and result of the method
 * @example
 *   class Funds { @TccTry(fundsContract) async freeze(tx: EntityManager, args: FreezeArgs, branch: TccBranch) { ... } }
 */
export function Try<Args, Result>(contract: Participant<Args, Result>): PhaseDecorator<TryMethod<Args, Result>>;
export function Try(): PhaseDecorator<AnyMethod>;
export function Try(contract?: Participant): PhaseDecorator<Unchecked> {
  return mark('try', contract);
}

/**
 * Does the work (执行实际的操作). Must be able to succeed after every successful Try. A failure is retried and never turned
 * into a Cancel.
 * @param contract as in `@TccTry`
 * @example
 *   class Funds { @TccConfirm(fundsContract) async capture(tx: EntityManager, args: FreezeArgs, branch: TccBranch) { ... } }
 */
export function Confirm<Args, Result>(
  contract: Participant<Args, Result>,
): PhaseDecorator<SecondMethod<Args, DataOf<Result>>>;
export function Confirm(): PhaseDecorator<AnyMethod>;
export function Confirm(contract?: Participant): PhaseDecorator<Unchecked> {
  return mark('confirm', contract);
}

interface CancelOptions {
  /** Calls the method even if Try had no effect. The default is false. */
  readonly withoutTry?: boolean;
}

/**
 * Gives back the reservation of Try (补偿). Not called if Try had no effect, unless `withoutTry` is set.
 * @param contract as in `@TccTry`
 * @example
 *   class Funds { @TccCancel(fundsContract) async release(tx: EntityManager, args: FreezeArgs, branch: TccBranch) { ... } }
 */
export function Cancel<Args, Result>(
  contract: Participant<Args, Result>,
  options?: CancelOptions,
): PhaseDecorator<SecondMethod<Args, DataOf<Result>>>;
export function Cancel(options?: CancelOptions): PhaseDecorator<AnyMethod>;
export function Cancel(
  first: Participant | CancelOptions = {},
  options: CancelOptions = {},
): PhaseDecorator<Unchecked> {
  const [contract, { withoutTry }] = 'args' in first ? [first, options] : [undefined, first];
  return mark('cancel', contract, withoutTry);
}

/**
 * Runs between the commit of Confirm and its answer: `(args, branch)`, without a transaction. It runs at least once
 * before the transaction ends, and again on every repeat. An error fails the Confirm, which is then called again.
 * `BrokerUnavailable` does not count as an attempt. Optional.
 * @param contract as in `@TccTry`
 * @example
 *   class Funds { @TccConfirmed(fundsContract) async notify(args: FreezeArgs, branch: TccBranch) { ... } }
 */
export function Confirmed<Args>(contract: Participant<Args, Unchecked>): PhaseDecorator<ConfirmedMethod<Args>>;
export function Confirmed(): PhaseDecorator<(args: Unchecked, branch: TccBranch<Unchecked>) => unknown>;
export function Confirmed(contract?: Participant): PhaseDecorator<Unchecked> {
  return mark('confirmed', contract);
}
