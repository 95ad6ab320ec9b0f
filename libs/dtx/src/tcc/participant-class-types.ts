// The types that a participant's class must have for its contract.
import type { EntityManager } from 'typeorm';

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
  /** The result of Try. Undefined in Try, in a Cancel without Try, and in `@TccConfirmed`. */
  readonly data: Data | undefined;
  /** The reason of a Cancel. */
  readonly reason: string | undefined;
  /** Time of the decision, by the clock of the initiator's database. Undefined in Try. */
  readonly decidedAt: Date | undefined;
}

/** The names of a participant's methods, for `@TccParticipant`. */
export interface TccMethods {
  /** Checks and reserves: `(tx, args, branch)`. */
  readonly try: string;
  /** Does the work: `(tx, args, branch)`. */
  readonly confirm: string;
  /** Gives the reservation back: `(tx, args, branch)`. */
  readonly cancel: string;
  /** Runs after the commit of Confirm, at least once: `(args, branch)`. Optional. */
  readonly confirmed?: string;
  /** Calls the method for Cancel even if Try had no effect. The default is false. */
  readonly cancelWithoutTry?: boolean;
}

/** Try of a participant. A contract with `result` fixes its result. */
export type TryMethod<Args, Result> = (
  tx: EntityManager,
  args: Args,
  branch: TccBranch<undefined>,
) => unknown extends Result ? unknown : Result | Promise<Result>;

/** Confirm or Cancel of a participant. */
export type SecondMethod<Args, Data> = (tx: EntityManager, args: Args, branch: TccBranch<Data>) => unknown;

/** `confirmed` of a participant. */
export type ConfirmedMethod<Args> = (args: Args, branch: TccBranch<undefined>) => unknown;

/** The methods that an instance must have. `Instance` is the class itself, which fixes the data if the contract does not. */
export type ParticipantMethods<Args, Result, Names extends TccMethods, Instance> = {
  readonly [Name in Names['try']]: TryMethod<Args, Result>;
} & {
  readonly [Name in Names['confirm'] | Names['cancel']]: SecondMethod<
    Args,
    unknown extends Result ? ResultOfMethod<Instance, Names['try']> : Result
  >;
} & { readonly [Name in NonNullable<Names['confirmed']>]: ConfirmedMethod<Args> };

/** The result of a method, as it is stored. */
type ResultOfMethod<Instance, Name> = Name extends keyof Instance
  ? Instance[Name] extends (...args: never[]) => infer Returned
    ? AsJson<Awaited<Returned>>
    : unknown
  : unknown;

/** A value after its way through JSON. A Date is a text. */
type AsJson<Value> = unknown extends Value
  ? Value
  : // biome-ignore lint/suspicious/noConfusingVoidType: the result of a method that returns nothing
    [Value] extends [void]
    ? undefined
    : Value extends { toJSON(): infer Json }
      ? Json
      : Value extends object
        ? { [Field in keyof Value]: AsJson<Value[Field]> }
        : Value;
