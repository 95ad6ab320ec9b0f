import type { DataSource } from 'typeorm';
import { DatabaseUnavailable } from '../errors/errors.js';
import { errnoOf, isAccountRefused, isBusy, isDatabaseAway, isStarved } from '../errors/sql-errors.js';

/**
 * Opens a DataSource with `manualInitialization: true`. Subscribers that services have pushed in their constructors stay,
 * as NestJS documents them. TypeORM itself replaces the list with the option `subscribers`. After a failure the list is as
 * before, for the next attempt.
 */
export async function openDataSource(source: DataSource): Promise<void> {
  const pushed = source.subscribers;
  try {
    await source.initialize();
  } catch (error) {
    Object.assign(source, { subscribers: pushed });
    throw error;
  }
  source.subscribers.push(...pushed.filter((one) => !source.subscribers.includes(one)));
}

/** The error of a call that comes too early. It counts as an unavailable database. */
export function notOpen(): Error {
  const what =
    'the database is not open yet: it is opened and migrated in the background; wait for DtxDatabase.untilReady()';
  return Object.assign(new Error(what), { code: 'POOL_NOT_OPEN' });
}

/** ER_QUERY_INTERRUPTED: a migration at another node of a Galera cluster has ended this one, or an operator has. */
const INTERRUPTED = 1317;

/** Whether an error of the open is temporary. Before the first open, a rejected account is a wrong setting. */
export function willPass(error: unknown): boolean {
  const root = error instanceof DatabaseUnavailable ? error.cause : error;
  if (isBusy(root) || errnoOf(root) === INTERRUPTED) return true;
  return (isDatabaseAway(root) || isStarved(root)) && !isAccountRefused(root);
}
