import { DatabaseUnavailable, DtxError, OutcomeUnknown, Unavailable } from './errors.js';

/** Error numbers of MySQL and MariaDB that the protocols tell apart (the servers' error references). */
const DUPLICATE_KEY = 1062;
/** 1205: the wait was too long; 3572: MySQL's answer to NOWAIT, where MariaDB says 1205 as well. */
const LOCK_WAITS = new Set([1205, 3572]);
/** Deadlock victim; 1020: snapshot conflict of MariaDB >= 11.6; 1614: MySQL's XA_RBDEADLOCK. */
const DEADLOCKS = new Set([1213, 1020, 1614]);
/** Shutting down, aborted, killed, starting up, ended for its silence. */
const SERVER_AWAY = new Set([1053, 1152, 1927, 3032, 3168, 4031]);
/** Too many connections: of the server (1040), from a host with errors (1129), of all accounts (1203), of one (1226). */
const NO_CONNECTION = new Set([1040, 1129, 1203, 1226]);
/** The server is up and lacks disk (1021, 1114), memory (1037, 1041) or threads (1135). The statement alone is undone. */
const STARVED = new Set([1021, 1037, 1041, 1114, 1135]);
/**
 * The server takes no writes, and a connection to it does not move to another by itself: read-only (1290, 1792, 1836), out
 * of its group (3100), not ready in its cluster (1047).
 */
const CONDEMNED = new Set([1047, 1290, 1792, 1836, 3100]);
/** The account, its password or its database: refused until a person changes something, if it was never let in before. */
const ACCOUNT_REFUSED = new Set([1044, 1045, 1049, 1130, 1251, 1698, 1862, 3118, 3159, 4151]);
/** The connection was ended by the server, maybe amid a COMMIT: shut down, aborted, killed, gone for its silence. */
const ANSWER_LOST = new Set([1047, 1053, 1152, 1927, 3168, 4031]);
/** Lowest error number of the servers; lower ones are the operating system's, and of a lost connection. */
export const SERVER_ERRNO_MIN = 1_000;
const CONNECTION_CODES =
  /^(ECONNREFUSED|ECONNRESET|ECONNABORTED|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|PROTOCOL_.*|ER_SERVER_SHUTDOWN|POOL_.*)$/;

interface SqlError {
  errno?: number;
  code?: string;
  syscall?: string;
  message?: string;
  driverError?: unknown;
}

function cause(error: unknown): SqlError {
  const given = (error ?? {}) as SqlError;
  return (given.driverError as SqlError | undefined) ?? given;
}

/** The server's number for an error, however TypeORM has wrapped it; 0 for what is not the server's. */
export function errnoOf(error: unknown): number {
  return cause(error).errno ?? 0;
}

/** Another row already has this unique key. */
export function isDuplicateKey(error: unknown): boolean {
  return cause(error).errno === DUPLICATE_KEY;
}

/** The row is locked by a transaction that is still open: unknown, never "absent". */
export function isLockWait(error: unknown): boolean {
  return LOCK_WAITS.has(cause(error).errno ?? 0);
}

/** The server rolled the transaction back to break a deadlock: run the whole unit again. */
export function isDeadlock(error: unknown): boolean {
  return DEADLOCKS.has(cause(error).errno ?? 0);
}

/** ER_SP_DOES_NOT_EXIST: how the servers answer for a savepoint that is gone. */
const NO_SAVEPOINT = 1305;
/**
 * Errors that roll back their statement and nothing else: duplicate and NULL keys, unknown tables and columns, syntax,
 * foreign keys and checks, values out of range or too long (MySQL manual, "InnoDB Error Handling").
 */
const STATEMENT_ONLY = new Set([
  1048, 1052, 1054, 1060, 1062, 1064, 1136, 1146, 1216, 1217, 1242, 1264, 1265, 1292, 1364, 1365, 1366, 1406, 1451,
  1452, 1644, 1690, 3819, 4025,
]);

/** What an error has left of the transaction that it came in. `unknown`: the next answer of the server tells. */
export function effectOf(error: unknown): 'none' | 'ended' | 'no savepoint' | 'unknown' {
  const { errno = 0 } = cause(error);
  if (STATEMENT_ONLY.has(errno)) return 'none';
  if (errno === NO_SAVEPOINT) return 'no savepoint';
  return isDeadlock(error) || isDatabaseAway(error) || errno < SERVER_ERRNO_MIN ? 'ended' : 'unknown';
}

/** Rows that it needs are locked by others: nothing is wrong with the work, and it may be done later. */
export function isBusy(error: unknown): boolean {
  return isLockWait(error) || isDeadlock(error);
}

/** The database cannot be reached, or the connection was lost: what was sent last may or may not have happened. */
export function isDatabaseAway(error: unknown): boolean {
  if (error instanceof DatabaseUnavailable) return true;
  const { errno, code, message } = cause(error);
  const number = errno ?? 0;
  if (SERVER_AWAY.has(number) || NO_CONNECTION.has(number) || CONDEMNED.has(number)) return true;
  if (CONNECTION_CODES.test(code ?? '')) return true;
  return /closed state|Pool is closed|Queue limit reached|not established|No connections available/i.test(
    message ?? '',
  );
}

/** The connection that said so leads to a server that takes no writes: it must not serve anybody again. */
export function isCondemned(error: unknown): boolean {
  return CONDEMNED.has(errnoOf(error));
}

/** The server is up and lacks a resource. The statement was not carried out, and nothing is wrong with it. */
export function isStarved(error: unknown): boolean {
  return STARVED.has(errnoOf(error));
}

/** A reason that passes without a change of the work: a server without writes, or without a resource. */
export function isPassing(error: unknown): boolean {
  return isCondemned(error) || isStarved(error) || NO_CONNECTION.has(errnoOf(error));
}

/** The server does not let this account in. Before the first time, a person has to put that right. */
export function isAccountRefused(error: unknown): boolean {
  return ACCOUNT_REFUSED.has(errnoOf(error));
}

/**
 * Nothing is wrong with the request: a dependency is unavailable or busy now, or has not answered. The same call may be
 * made again later. `isOutcomeUnknown` tells whether it may have happened.
 */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof Unavailable || error instanceof OutcomeUnknown) return true;
  return isDatabaseAway(error) || isStarved(error) || isBusy(error);
}

/** The step may have happened: its answer was lost, or never came. Ask before it is done in another way. */
export function isOutcomeUnknown(error: unknown): boolean {
  if (error instanceof DtxError) return error instanceof OutcomeUnknown;
  const { code = '', syscall } = cause(error);
  if (ANSWER_LOST.has(errnoOf(error))) return true;
  return /^(ECONNRESET|ECONNABORTED|EPIPE|ETIMEDOUT|PROTOCOL_.*)$/.test(code) && syscall !== 'connect';
}
