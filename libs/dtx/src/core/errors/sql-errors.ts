import { DatabaseUnavailable, DtxError, OutcomeUnknown, Unavailable } from './errors.js';

/** Error numbers of MySQL and MariaDB that the protocols distinguish (error references of the servers). */
const DUPLICATE_KEY = 1062;
/** 1205: lock wait timeout. 3572: the answer of MySQL to NOWAIT, for which MariaDB also uses 1205. */
const LOCK_WAITS = new Set([1205, 3572]);
/**
 * 1213: deadlock victim. 1020: snapshot conflict of MariaDB >= 11.6. 1614: XA_RBDEADLOCK of MySQL. 3101: rolled back at
 * COMMIT by Group Replication, because of a conflict or because the member has left its group.
 */
const DEADLOCKS = new Set([1213, 1020, 1614, 3101]);
/**
 * The server is starting or shutting down, or ended the session: aborted, killed, idle for too long. 1180: a COMMIT failed,
 * as at a Galera node that loses the majority meanwhile.
 */
const SERVER_AWAY = new Set([1053, 1152, 1180, 1927, 3032, 3168, 4031]);
/**
 * Too many connections: of the server (1040), from a blocked host (1129), of all accounts (1203), of one account
 * (1226).
 */
const NO_CONNECTION = new Set([1040, 1129, 1203, 1226]);
/** The server lacks disk (1021, 1114), memory (1037, 1041) or threads (1135). Only the statement is rolled back. */
const STARVED = new Set([1021, 1037, 1041, 1114, 1135]);
/**
 * The server accepts no writes, and its connections never move to another server. Read-only (1290, 1792, 1836), out of
 * its group (3100), not ready in its cluster (1047).
 */
const CONDEMNED = new Set([1047, 1290, 1792, 1836, 3100]);
/**
 * The server rejects the account, its password or its database. Permanent until an operator changes a setting, if the
 * account never had access.
 */
const ACCOUNT_REFUSED = new Set([1044, 1045, 1049, 1130, 1251, 1698, 1862, 3118, 3159, 4151]);
/**
 * The server closes the connection after this error: a packet that is too large (1153) or out of order, a failed read or
 * write (1156 to 1161), an aborted connection (1184).
 */
const CLOSES = new Set([1153, 1156, 1157, 1158, 1159, 1160, 1161, 1184]);
/**
 * The server ended the connection, possibly during a COMMIT: shutdown, abort, kill, idle timeout. After 1180 the majority of
 * a Galera cluster may have the write set.
 */
const ANSWER_LOST = new Set([1047, 1053, 1152, 1180, 1927, 3168, 4031]);
/** The lowest error number of the servers. Lower numbers belong to the operating system and to lost connections. */
export const SERVER_ERRNO_MIN = 1_000;
/**
 * An open connection ended: codes of the system, also for a network that is gone (POSIX, "Error Numbers"), and of mysql2. While it
 * connects, nothing was sent yet.
 */
const CONNECTION_LOST =
  /^(ECONNRESET|ECONNABORTED|EPIPE|ETIMEDOUT|EHOSTUNREACH|EHOSTDOWN|ENETUNREACH|ENETDOWN|ENETRESET|PROTOCOL_.*)$/;
/** Further codes of an unreachable database. They say nothing about a statement on its way. */
const AWAY = /^(ECONNREFUSED|EADDRNOTAVAIL|ENOTFOUND|EAI_AGAIN|ER_SERVER_SHUTDOWN|POOL_.*)$/;
/** Codes that only mysql2 and this library use. */
const OF_DATABASE = /^(PROTOCOL|POOL|ER)_/;
/** Errors without a code: of the pool of mysql2, and of TypeORM before a DataSource is open. */
const POOL_TEXT = /^(Pool is closed|Queue limit reached|No connections available)\.?$/;
const NOT_OPEN = /^(CannotExecuteNotConnectedError|ConnectionIsNotSetError)$/;

interface SqlError {
  errno?: number;
  code?: string;
  syscall?: string;
  message?: string;
  name?: string;
  /** Set by mysql2 on an error that ended its connection, or that came before it was open. */
  fatal?: boolean;
  driverError?: unknown;
}

function cause(error: unknown): SqlError {
  const given = (error ?? {}) as SqlError;
  return (given.driverError as SqlError | undefined) ?? given;
}

/** The error number of the server, also from an error that TypeORM wrapped. 0 for any other error. */
export function errnoOf(error: unknown): number {
  return cause(error).errno ?? 0;
}

/**
 * Another row has this unique key.
 * @example
 *   if (isDuplicateKey(error)) throw new Rejected('ORDER_EXISTS');
 */
export function isDuplicateKey(error: unknown): boolean {
  return cause(error).errno === DUPLICATE_KEY;
}

/**
 * An open transaction holds the row lock. The result is unknown, never "absent".
 * @example
 *   if (isLockWait(error)) throw new ServiceUnavailableException('the order is locked, retry');
 */
export function isLockWait(error: unknown): boolean {
  return LOCK_WAITS.has(cause(error).errno ?? 0);
}

/**
 * The server rolled the transaction back to resolve a deadlock. The whole unit must run again.
 * @example
 *   if (isDeadlock(error)) return this.place(purchase); // the whole transaction again
 */
export function isDeadlock(error: unknown): boolean {
  return DEADLOCKS.has(cause(error).errno ?? 0);
}

/** ER_SP_DOES_NOT_EXIST: the answer of the servers for a missing savepoint. */
const NO_SAVEPOINT = 1305;
/**
 * Errors that roll back only their statement (MySQL manual, "InnoDB Error Handling"). Duplicate and NULL keys, unknown
 * tables and columns, syntax, foreign keys and checks, values out of range or too long.
 */
const STATEMENT_ONLY = new Set([
  1048, 1052, 1054, 1060, 1062, 1064, 1136, 1146, 1216, 1217, 1242, 1264, 1265, 1292, 1364, 1365, 1366, 1406, 1451,
  1452, 1644, 1690, 3819, 4025,
]);

/** The effect of an error on its transaction. `unknown`: the next answer of the server tells. */
export function effectOf(error: unknown): 'none' | 'ended' | 'no savepoint' | 'unknown' {
  const { errno = 0 } = cause(error);
  if (STATEMENT_ONLY.has(errno)) return 'none';
  if (errno === NO_SAVEPOINT) return 'no savepoint';
  return isDeadlock(error) || endsConnection(error) || errno < SERVER_ERRNO_MIN ? 'ended' : 'unknown';
}

/** Other transactions lock the rows. The work itself is valid and can be retried. */
export function isBusy(error: unknown): boolean {
  return isLockWait(error) || isDeadlock(error);
}

/** The database is unreachable, or the connection was lost. The last statement may or may not have run. */
export function isDatabaseAway(error: unknown): boolean {
  if (error instanceof DatabaseUnavailable) return true;
  const { errno = 0, code = '', message = '', name = '' } = cause(error);
  if (SERVER_AWAY.has(errno) || NO_CONNECTION.has(errno) || CONDEMNED.has(errno)) return true;
  if (POOL_TEXT.test(message) || NOT_OPEN.test(name)) return true;
  return isOfDatabase(error) && (CONNECTION_LOST.test(code) || AWAY.test(code) || message.includes('closed state'));
}

/**
 * Whether the error of a connection is one of mysql2, possibly wrapped by TypeORM. Clients of other services throw the same
 * codes of the system.
 */
function isOfDatabase(error: unknown): boolean {
  const { code = '', fatal } = cause(error);
  return cause(error) !== error || fatal === true || OF_DATABASE.test(code);
}

/** The connection takes no further statement, whatever the reason of the error was. */
export function endsConnection(error: unknown): boolean {
  return CLOSES.has(errnoOf(error)) || isDatabaseAway(error);
}

/** The connection leads to a server that accepts no writes. It must not be used again. */
export function isCondemned(error: unknown): boolean {
  return CONDEMNED.has(errnoOf(error));
}

/** The server lacks a resource. The statement did not run, and it is valid. */
export function isStarved(error: unknown): boolean {
  return STARVED.has(errnoOf(error));
}

/** A temporary reason outside the work: a server without writes, connections or another resource. */
export function isPassing(error: unknown): boolean {
  return isCondemned(error) || isStarved(error) || NO_CONNECTION.has(errnoOf(error));
}

/** The server rejects this account. If the account never had access, an operator must correct the setting. */
export function isAccountRefused(error: unknown): boolean {
  return ACCOUNT_REFUSED.has(errnoOf(error));
}

/**
 * The request is valid, but a dependency is unavailable, busy or silent. The same call can be retried.
 * `isOutcomeUnknown` tells whether it may have happened.
 * @example
 *   if (isUnavailable(error)) throw new ServiceUnavailableException();
 */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof Unavailable || error instanceof OutcomeUnknown) return true;
  return isDatabaseAway(error) || isStarved(error) || isBusy(error);
}

/**
 * The step may have happened. Its answer was lost or never came. The caller must ask before it takes another way.
 * @example
 *   if (isOutcomeUnknown(error)) return this.orders.find(orderId); // ask before a retry with another id
 */
export function isOutcomeUnknown(error: unknown): boolean {
  if (error instanceof DtxError) return error instanceof OutcomeUnknown;
  const { code = '', syscall } = cause(error);
  if (ANSWER_LOST.has(errnoOf(error))) return true;
  return CONNECTION_LOST.test(code) && syscall !== 'connect' && isOfDatabase(error);
}
