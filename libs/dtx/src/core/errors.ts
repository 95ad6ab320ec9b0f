import { inspect } from 'node:util';

/**
 * The three verdicts of every protocol, as values: a definite no (`Rejected`), not known (`OutcomeUnknown`), and
 * anything else, which is a bug or an operating error. A duplicate is a normal return, never an error.
 */

/** Base of every error this library throws. It carries no HTTP status: mapping is the application's business. */
export class DtxError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** A text for any thrown value. User code may throw a value that is not an Error, or an Error without a text. Never throws. */
export function textOf(thrown: unknown): string {
  try {
    if (typeof thrown === 'string') return thrown || 'an empty text was thrown';
    if (!(thrown instanceof Error)) return inspect(thrown);
    const { message, code, name } = thrown as NodeJS.ErrnoException;
    return [message, code, name].find((text) => typeof text === 'string' && text !== '') ?? 'an Error without a text';
  } catch {
    return 'a value that cannot be read was thrown';
  }
}

/** A definite business no: roll back, do not retry. `reason` is a short code such as `OUT_OF_STOCK`. */
export class Rejected extends DtxError {
  constructor(
    readonly reason: string,
    message = reason,
  ) {
    super(message);
  }
}

/** The step may or may not have happened (timeout, lost connection, lost COMMIT reply): ask or retry, never guess. */
export class OutcomeUnknown extends DtxError {}

/** A transactional call was given a bare manager: the effect would not be atomic with the caller's work. */
export class TransactionRequired extends DtxError {
  constructor(
    call: string,
    message = `${call} needs the EntityManager of an open transaction: call it inside dataSource.transaction(async (tx) => ...)`,
  ) {
    super(message);
  }
}

/**
 * The transaction is not the one that was begun any more, or would not have been: a statement of the caller's has ended it
 * (COMMIT, ROLLBACK, DDL, a deadlock), or was refused because it would have. Let it roll everything back.
 */
export class TransactionEnded extends DtxError {
  /** The statement was carried out: what came before it may be committed, and cannot be rolled back. */
  readonly isCommittedInPart: boolean;

  constructor(why: string, { isCommittedInPart = false } = {}) {
    super(`this transaction cannot be committed as a whole: ${why}`);
    this.isCommittedInPart = isCommittedInPart;
  }
}

/** Whether work that has failed with this error is done in part, and cannot be undone by a rollback or done again. */
export function isDoneInPart(error: unknown): error is Error {
  const { cause } = (error ?? {}) as { cause?: unknown };
  return [error, cause].some((one) => one instanceof TransactionEnded && one.isCommittedInPart);
}

/** An option or environment value is wrong; the message is one line that names it. */
export class OptionsError extends DtxError {}

/** The broker cannot be reached now. Not an attempt: nothing was sent, or it is not known to have been. */
export class BrokerUnavailable extends OutcomeUnknown {}
