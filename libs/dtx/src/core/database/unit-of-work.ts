import type { EntityManager } from 'typeorm';
import type { TransactionGuard } from './guarded-transaction.js';
import type { SqlValue } from './sql-literals.js';

/** Work of user code that commits as a whole, in a transaction of the library. */
export interface Unit<T> {
  /** The name of the user code in errors: `@OnMessage(invoice.issued.v1) of mail.send-invoice`. */
  readonly what: string;
  /** The first statements of the transaction, sent with its begin. */
  readonly first?:
    | {
        readonly statement: string;
        readonly values: readonly SqlValue[];
        /** The error to throw for a duplicate key of these statements. Default: that of the driver. */
        readonly ifThere?: () => Error;
        /** The number of these statements. Default 1. */
        readonly count?: number;
      }
    | undefined;
  /** @param answers end with those of `first` */
  readonly run: (tx: EntityManager, guard: TransactionGuard, answers: readonly unknown[]) => Promise<T>;
  /** The row lock wait of a statement in seconds. Default: `lockWaitSeconds` of the core. */
  readonly lockWaitSeconds?: number | undefined;
  /** A deadlock is thrown, since the caller has another way. Default: the unit runs again. */
  readonly isOnce?: boolean;
  /** Units with the same one may share a transaction. Each must find its own effect if it runs again, or `throwsUnknown`. */
  readonly sharing?: SharesTransactions | undefined;
  /** A lost answer to a shared COMMIT is thrown, since the unit would not find its effect. Default: it runs again. */
  readonly throwsUnknown?: boolean;
  /** Called when its shared transaction has failed. Nothing of the unit is committed then, unless a part of all is. */
  readonly parted?: () => void;
  /** Runs a unit that shares no transaction. Default: a transaction of its own. */
  readonly alone?: () => Promise<T>;
  /** The consumer of the handler. It takes a place of that consumer (see `WorkShares`). */
  readonly consumer?: string;
}

/** Runs a unit in a transaction. */
export type RunUnit = <T>(unit: Unit<T>) => Promise<T>;

/** Runs units by `run`, perhaps several in one transaction. */
export interface SharesTransactions {
  run<T>(unit: Unit<T>, run: RunUnit): Promise<T>;
}
