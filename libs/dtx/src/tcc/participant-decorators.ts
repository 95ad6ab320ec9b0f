// Decorators of a TCC participant's class and its methods.
import 'reflect-metadata';
import { Injectable, SetMetadata } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import type { Participant } from './participant-contract.js';

/** The context of a participant's method, beside its arguments. */
export interface TccBranch<Data = unknown> {
  readonly gid: string;
  /**
   * The app that began the transaction. A gid is unique per initiator only, so a participant that serves several must
   * store data under both.
   */
  readonly initiator: string | undefined;
  /** Number of the call within the transaction, from 0. */
  readonly branch: number;
  /** The result of Try. Undefined in Try, in a Cancel without Try, and in `@Confirmed`. */
  readonly data: Data | undefined;
  /** The reason of a Cancel. */
  readonly reason: string | undefined;
  /** Time of the decision, by the clock of the initiator's database. Undefined in Try. */
  readonly decidedAt: Date | undefined;
}

// biome-ignore lint/suspicious/noExplicitAny: arguments and data are of the participant's own types; the contract checks the former at run time
type Method = (tx: EntityManager, args: any, branch: TccBranch<any>) => unknown;

export const PARTICIPANT = Symbol('dtx tcc participant');
export const PHASE = Symbol('dtx tcc phase');

export interface PhaseMark {
  readonly phase: 'try' | 'confirm' | 'cancel' | 'confirmed';
  readonly withoutTry: boolean;
}

/**
 * Marks a provider as a participant in TCC transactions, with three methods. Each method runs in one local transaction
 * together with the barrier, through `tx`. It may write only to that database, since the barrier protects nothing else.
 * The barrier keeps repeats, an empty rollback (Cancel before Try) and a suspended Try (after its Cancel) from the
 * class.
 * @example
 *   @TccParticipant(fundsContract)
 *   export class FreezeFunds {
 *     @Try() freeze(tx: EntityManager, args: FreezeArgs, branch: TccBranch) { ... }
 *     @Confirm() capture(tx: EntityManager, args: FreezeArgs, branch: TccBranch) { ... }
 *     @Cancel() release(tx: EntityManager, args: FreezeArgs, branch: TccBranch) { ... }
 *   }
 */
export function TccParticipant<Args>(contract: Participant<Args>): ClassDecorator {
  return (target) => {
    Injectable()(target);
    SetMetadata(PARTICIPANT, contract)(target);
  };
}

const mark =
  (phase: PhaseMark['phase'], withoutTry: boolean) =>
  <T extends Method>(_target: object, _method: string | symbol, descriptor: TypedPropertyDescriptor<T>): void => {
    Reflect.defineMetadata(PHASE, { phase, withoutTry } satisfies PhaseMark, descriptor.value!);
  };

/** Checks and reserves (锁定或者预留). Throw `Rejected` for a business refusal. Confirm and Cancel see the returned value. */
export const Try = () => mark('try', false);

/**
 * Does the work (执行实际的操作). Must be able to succeed after every successful Try. A failure is retried and never turned
 * into a Cancel.
 */
export const Confirm = () => mark('confirm', false);

/** Gives back the reservation of Try (补偿). Not called if Try had no effect, unless `withoutTry` is set. */
export const Cancel = ({ withoutTry = false }: { withoutTry?: boolean } = {}) => mark('cancel', withoutTry);

// biome-ignore lint/suspicious/noExplicitAny: arguments are of the participant's own type; the contract checks them at run time
type Aftermath = (args: any, branch: TccBranch) => unknown;

/**
 * Runs between the commit of Confirm and its answer: `(args, branch)`, without a transaction. It runs at least once
 * before the transaction ends, and again on every repeat. An error fails the Confirm, which is then called again.
 * `BrokerUnavailable` does not count as an attempt. Optional.
 */
export const Confirmed =
  () =>
  <T extends Aftermath>(_target: object, _method: string | symbol, descriptor: TypedPropertyDescriptor<T>): void => {
    const phase: PhaseMark = { phase: 'confirmed', withoutTry: false };
    Reflect.defineMetadata(PHASE, phase, descriptor.value!);
  };
