import { DataSource, type EntityTarget, type ObjectLiteral } from 'typeorm';
import { OptionsError } from '../core/errors/errors.js';
import { KEEP_ALIVE_MS } from '../core/keep-alive.js';
import { databaseAddress } from '../core/server-url.js';

const CONNECT_TIMEOUT_MS = 5_000;
export const IDLE_MS = 2_000;

/** A database that takes part as a branch: another app's, which migrates it itself. */
export interface BranchDatabase {
  readonly url: string;
  /**
   * Options of the driver with which it is reached, as in the DataSource of the app: `ssl`, `socketPath`, `connectTimeout`,
   * `authPlugins`, `compress`, ... What the protocol depends on is set by the library and cannot be changed here.
   */
  readonly options?: Readonly<Record<string, unknown>>;
  /** What the managers of its branches know. */
  readonly entities?: readonly EntityTarget<ObjectLiteral>[];
  /** Its schema as this program writes to it: the very version of each component, or nothing is written. */
  readonly schema?: Readonly<Record<string, number>>;
}

/**
 * A DataSource that only XA uses. Several statements may go in one round trip: what is joined are literals of this
 * library. Connections that have nothing to do are closed before the server would end them for their silence, and none is
 * ever reset: on MariaDB a reset loses a prepared branch without a word.
 */
export function branchSource(
  name: string,
  { url, options: given = {}, entities = [] }: BranchDatabase,
  size: number,
): DataSource {
  const extra = {
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
    ...given,
    connectionLimit: size,
    queueLimit: size,
    maxIdle: size - 1,
    idleTimeout: IDLE_MS,
    resetOnRelease: false,
    multipleStatements: true,
  };
  const options = {
    type: 'mysql',
    ...addressOf(name, url),
    timezone: 'Z',
    charset: 'utf8mb4',
    entities,
    poolSize: size,
    extra,
  };
  return new DataSource(options as unknown as ConstructorParameters<typeof DataSource>[0]);
}

/** @throws OptionsError that names the branch */
function addressOf(name: string, url: string) {
  try {
    return databaseAddress(url);
  } catch (error) {
    throw new OptionsError(`xa.branches.${name}.url ${(error as Error).message}`);
  }
}
