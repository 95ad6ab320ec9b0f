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

/** What can be said of anything that was thrown: a handler may throw what is no Error. */
export function textOf(thrown: unknown): string {
  if (thrown instanceof Error) return thrown.message;
  return typeof thrown === 'string' ? thrown : inspect(thrown);
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
  constructor(call: string) {
    super(
      `${call} needs the EntityManager of an open transaction: call it inside dataSource.transaction(async (tx) => ...)`,
    );
  }
}

/** An option or environment value is wrong; the message is one line that names it. */
export class OptionsError extends DtxError {}

/** The broker cannot be reached now. Not an attempt: nothing was sent, or it is not known to have been. */
export class BrokerUnavailable extends OutcomeUnknown {}
