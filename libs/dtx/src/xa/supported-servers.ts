import { OptionsError, textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { isAnswered } from './branch-connection.js';

export const OLDEST = { MySQL: [8, 0, 29], MariaDB: [10, 6, 0] } as const;

/** Compares by numbers. A version that cannot be read is older than any. */
export function isOlder(version: string, oldest: readonly number[]): boolean {
  const parts = version.split(/[.-]/, 3).map(Number);
  const at = oldest.findIndex((number, index) => parts[index] !== number);
  return at >= 0 && !(parts[at]! > oldest[at]!);
}

/** The OptionsError for a server that answers XA START with an error. Otherwise the error itself. */
export function refusalOfXa(error: unknown): unknown {
  if (!isAnswered(error) || isUnavailable(error)) return error;
  return new OptionsError(
    `this server refuses XA START: ${textOf(error)}; use a server without Galera replication and without a proxy that filters XA`,
  );
}
