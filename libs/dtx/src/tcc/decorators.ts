import 'reflect-metadata';
import { Injectable, SetMetadata } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import type { Participant } from './contract.js';

/** What a participant's method may know beside its arguments. */
export interface TccBranch<Data = unknown> {
  readonly gid: string;
  /**
   * The app that began the transaction. A gid is unique among the transactions of one initiator, so what a participant
   * that serves several keeps under a gid belongs under both.
   */
  readonly initiator: string | undefined;
  /** Which call of the transaction this is, from 0. */
  readonly branch: number;
  /** What Try returned; undefined in Try, in a Cancel without Try, and in what comes after Confirm. */
  readonly data: Data | undefined;
  /** Why it is cancelled. */
  readonly reason: string | undefined;
  /** When the outcome was decided, by the clock of the initiator's database; undefined in Try. */
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
 * Marks a provider as the class of three methods that takes part in TCC transactions. Each method runs in one local
 * transaction together with the barrier, through `tx`; it may touch only that database, since the barrier can undo
 * nothing else. Repeats, a Cancel before its Try, a Try after its Cancel: none of them reaches the class.
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

/** Checks and reserves (seed: 锁定或者预留). Throw `Rejected` for a business no; what it returns, Confirm and Cancel see. */
export const Try = () => mark('try', false);

/** Does it (seed: 执行实际的操作). Must be able to succeed whenever Try did; a failure is retried, never turned into a Cancel. */
export const Confirm = () => mark('confirm', false);

/** Gives back what Try reserved (seed: 补偿). Not called when Try never took effect, unless `withoutTry` asks for it. */
export const Cancel = ({ withoutTry = false }: { withoutTry?: boolean } = {}) => mark('cancel', withoutTry);

// biome-ignore lint/suspicious/noExplicitAny: arguments are of the participant's own type; the contract checks them at run time
type Aftermath = (args: any, branch: TccBranch) => unknown;

/**
 * What a participant does between the commit of Confirm and its answer: `(args, branch)`, without a transaction, and
 * again for every repeat, so at least once before the transaction is over. When it throws, Confirm is answered as failed
 * and is called again; while the broker is away (`BrokerUnavailable`) that is no attempt. A participant need not have one.
 */
export const Confirmed =
  () =>
  <T extends Aftermath>(_target: object, _method: string | symbol, descriptor: TypedPropertyDescriptor<T>): void => {
    const phase: PhaseMark = { phase: 'confirmed', withoutTry: false };
    Reflect.defineMetadata(PHASE, phase, descriptor.value!);
  };
