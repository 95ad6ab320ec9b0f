import { DataSource, type EntityTarget, type ObjectLiteral } from 'typeorm';
import { OptionsError } from '../core/errors/errors.js';
import { databaseAddress } from '../core/server-url.js';
import { KEEP_ALIVE_MS } from '../core/tcp-keep-alive.js';

const CONNECT_TIMEOUT_MS = 5_000;
export const IDLE_MS = 2_000;

/** A database of another app in which branches work. That app migrates it. */
export interface BranchDatabase {
  readonly url: string;
  /**
   * Driver options of the connection, as in the DataSource of the app: `ssl`, `socketPath`, `connectTimeout`,
   * `authPlugins`, `compress`, ... The library sets the options that the protocol depends on, and they cannot be
   * changed here.
   */
  readonly options?: Readonly<Record<string, unknown>>;
  /** Entities of the EntityManager that `work` gets for this branch. */
  readonly entities?: readonly EntityTarget<ObjectLiteral>[];
  /**
   * The schema versions that this program writes to, by component. A branch begins only if the database has this version,
   * or a later one whose migrations state that this version may still write (`compatibleFrom`, docs/schema.md).
   */
  readonly schema?: Readonly<Record<string, number>>;
}

/**
 * The DataSource of one branch database, used only by XA. Several statements may travel in one round trip, and the
 * joined ones are literals of this library. Idle connections are closed before the server ends them. No connection is
 * ever reset, because a reset on MariaDB silently loses a prepared branch.
 */
export function branchSource(
  name: string,
  { url, options: given = {}, entities = [] }: BranchDatabase,
  size: number,
): DataSource {
  const extra = {
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
    // mysql2 would take a stack trace for each query.
    trace: false,
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
