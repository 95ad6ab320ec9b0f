import { inspect } from 'node:util';

/**
 * The errors of the protocols. Siblings: `Rejected` (a definite business refusal, no retry), `Unavailable` (nothing
 * happened, retry), `OutcomeUnknown` (the step may have happened, ask or retry). Any other error is a bug or an
 * operating error. A duplicate is a normal result and never an error.
 */

/**
 * Base class of the errors of this library. It carries no HTTP status. The application maps errors to HTTP.
 * @example
 *   if (error instanceof DtxError) logger.error(`${error.name}: ${error.message}`);
 */
export class DtxError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/**
 * Returns a text for any thrown value. User code may throw a value that is not an Error, or an Error without a message.
 * Never throws.
 */
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

/**
 * A definite business refusal. The work is rolled back and not retried. `reason` is a short code such as
 * `OUT_OF_STOCK`.
 * @example
 *   if (left < quantity) throw new Rejected('OUT_OF_STOCK');
 */
export class Rejected extends DtxError {
  constructor(
    readonly reason: string,
    message = reason,
  ) {
    super(message);
  }
}

/**
 * A dependency is unavailable or busy. Nothing happened. A retry of the same call may succeed.
 * @example
 *   if (error instanceof Unavailable) throw new ServiceUnavailableException(error.message);
 */
export class Unavailable extends DtxError {}

/**
 * The database gave no connection, or the server refused a statement for a temporary reason: too many connections, a
 * full disk, a read-only server. Nothing happened. Does not count as an attempt.
 * @example
 *   if (error instanceof DatabaseUnavailable) logger.warn(`${error.code}: ${error.message}`); // retry later
 */
export class DatabaseUnavailable extends Unavailable {
  /** The error of the driver. `code` and `errno` are copied from it. */
  readonly driverError: unknown;
  readonly code: string | undefined;
  readonly errno: number | undefined;

  /** @param of the DataSource that owns the pool. Undefined for a pool of the library. */
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

/**
 * User code exceeded its time limit. Its transaction is rolled back. Counts as a failed attempt.
 * @example
 *   if (error instanceof TookTooLong) logger.error(error.message); // see `handlerTimeoutMs`
 */
export class TookTooLong extends DtxError {}

/**
 * The step may or may not have happened: timeout, lost connection, lost COMMIT reply. The caller must ask or retry.
 * @example
 *   if (error instanceof OutcomeUnknown) return { gid, status: 'PENDING' }; // ask for the outcome later
 */
export class OutcomeUnknown extends DtxError {}

/**
 * A transactional call received an EntityManager without an open transaction. Its effect would not be atomic with the
 * work of the caller.
 * @example
 *   await this.messages.append(dataSource.manager, orderPlaced, order); // throws TransactionRequired
 *   await dataSource.transaction((tx) => this.messages.append(tx, orderPlaced, order));
 */
export class TransactionRequired extends DtxError {
  constructor(
    call: string,
    message = `${call} needs the EntityManager of an open transaction; call it inside dataSource.transaction(async (tx) => ...)`,
  ) {
    super(message);
  }
}

/**
 * The transaction cannot be committed as a whole. A statement of the caller ended it (COMMIT, ROLLBACK, DDL, a
 * deadlock), or was rejected because it would. The caller must let it roll back.
 * @example
 *   if (error instanceof TransactionEnded && error.isCommittedInPart) logger.error(error.message); // check by hand
 */
export class TransactionEnded extends DtxError {
  /** True if the statement ran: earlier work may be committed and cannot be rolled back. */
  readonly isCommittedInPart: boolean;

  constructor(why: string, { isCommittedInPart = false } = {}) {
    super(`this transaction cannot be committed as a whole: ${why}`);
    this.isCommittedInPart = isCommittedInPart;
  }
}

/** Whether failed work is committed in part, so that it can neither be rolled back nor retried. */
export function isDoneInPart(error: unknown): error is Error {
  const { cause } = (error ?? {}) as { cause?: unknown };
  return [error, cause].some((one) => one instanceof TransactionEnded && one.isCommittedInPart);
}

/**
 * An option or an environment value is invalid. The message is one line that names it.
 * @example
 *   DtxModule.forRoot({ app, rabbitmqUrl, leaseMs: -1 }); // throws OptionsError, whose message names core.leaseMs
 */
export class OptionsError extends DtxError {}

/**
 * The broker is unreachable or blocks publishers. Nothing was sent. Does not count as an attempt.
 * @example
 *   if (error instanceof BrokerUnavailable) throw new ServiceUnavailableException(error.message);
 */
export class BrokerUnavailable extends Unavailable {}

/**
 * A message was sent and its publisher confirm is missing. Consumers may receive it. Does not count as an attempt.
 * @example
 *   if (error instanceof Unconfirmed) await this.publishAgain(); // the consumer must be idempotent
 */
export class Unconfirmed extends OutcomeUnknown {}

/**
 * Whether the broker caused the error. A publish can be repeated when the broker is back.
 * @example
 *   isBrokerUnavailable(new BrokerUnavailable('cannot connect to RabbitMQ')); // true
 */
export function isBrokerUnavailable(error: unknown): boolean {
  return error instanceof BrokerUnavailable || error instanceof Unconfirmed;
}

/** @deprecated the old name of `isBrokerUnavailable` */
export const isBrokerAway = isBrokerUnavailable;
