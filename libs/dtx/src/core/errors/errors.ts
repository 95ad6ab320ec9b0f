import { inspect } from 'node:util';

/**
 * The verdicts of every protocol, as values: a definite no (`Rejected`), not now (`Unavailable`: nothing happened, retry),
 * not known (`OutcomeUnknown`: it may have happened, ask), and anything else, which is a bug or an operating error. A
 * duplicate is a normal return, never an error.
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

/** A dependency is unavailable or busy. Nothing happened: the same call may succeed later. */
export class Unavailable extends DtxError {}

/**
 * No connection to the database could be had, or the server refused a statement for a reason that passes: too many
 * connections, a full disk, a server without writes. Nothing happened. Not an attempt of a message.
 */
export class DatabaseUnavailable extends Unavailable {
  /** The driver's error: its number and code are those of this one. */
  readonly driverError: unknown;
  readonly code: string | undefined;
  readonly errno: number | undefined;

  /** @param of the DataSource whose pool it was; without one, a pool of the library's */
  constructor(
    doing: string,
    cause: unknown,
    readonly of?: object,
  ) {
    super(`${doing}: ${textOf(cause)}`, { cause });
    const { driverError = cause } = cause as { driverError?: unknown };
    const { code, errno } = (driverError ?? {}) as { code?: string; errno?: number };
    this.driverError = driverError;
    this.code = code;
    this.errno = errno;
  }
}

/** The user's code took longer than it may. What it did in its transaction is rolled back. Counts as a failed attempt. */
export class TookTooLong extends DtxError {}

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

/** The broker cannot be reached, or takes no messages now. Nothing was sent. Not an attempt of a delivery. */
export class BrokerUnavailable extends Unavailable {}

/** A message was given to the broker, and its publisher confirm is missing: consumers may get it. Not an attempt either. */
export class Unconfirmed extends OutcomeUnknown {}

/** The broker is the reason: a publish may be repeated once it is back. */
export function isBrokerAway(error: unknown): boolean {
  return error instanceof BrokerUnavailable || error instanceof Unconfirmed;
}
