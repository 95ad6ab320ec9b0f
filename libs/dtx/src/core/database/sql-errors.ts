import { BrokerUnavailable, OutcomeUnknown } from '../errors.js';

/** Error numbers of MySQL and MariaDB that the protocols tell apart (the servers' error references). */
const DUPLICATE_KEY = 1062;
/** 1205: the wait was too long; 3572: MySQL's answer to NOWAIT, where MariaDB says 1205 as well. */
const LOCK_WAITS = new Set([1205, 3572]);
/** Deadlock victim; 1020: snapshot conflict of MariaDB >= 11.6; 1614: MySQL's XA_RBDEADLOCK. */
const DEADLOCKS = new Set([1213, 1020, 1614]);
/** Too many connections, shutting down, aborted, read-only server, killed, starting up. */
const SERVER_AWAY = new Set([1040, 1053, 1152, 1290, 1836, 1927, 3032, 3168, 4031]);
const CONNECTION_CODES =
  /^(ECONNREFUSED|ECONNRESET|ECONNABORTED|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|PROTOCOL_.*|ER_SERVER_SHUTDOWN|POOL_.*)$/;

interface SqlError {
  errno?: number;
  code?: string;
  message?: string;
  driverError?: unknown;
}

function cause(error: unknown): SqlError {
  const given = (error ?? {}) as SqlError;
  return (given.driverError as SqlError | undefined) ?? given;
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

/** Rows that it needs are locked by others: nothing is wrong with the work, and it may be done later. */
export function isBusy(error: unknown): boolean {
  return isLockWait(error) || isDeadlock(error);
}

/** The database cannot be reached, or the connection was lost: what was sent last may or may not have happened. */
export function isDatabaseAway(error: unknown): boolean {
  const { errno, code, message } = cause(error);
  if (SERVER_AWAY.has(errno ?? 0) || CONNECTION_CODES.test(code ?? '')) return true;
  return /closed state|Pool is closed|Queue limit reached|not established|No connections available/i.test(
    message ?? '',
  );
}

/** Nothing is wrong with the request: what it needs is away or busy now, the same call may succeed later. */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof BrokerUnavailable || error instanceof OutcomeUnknown) return true;
  return isDatabaseAway(error) || isBusy(error);
}
