import type { DataSource } from 'typeorm';
import type { CoreOptions } from '../options.js';
import type { CommitHooks } from './commit-hooks.js';
import { WorkShares } from './consumer-connection-shares.js';
import { connectionOptionsOf, poolBeside, poolLike, type SessionPool, type Waits } from './pinned-session-pool.js';
import { readUserSession } from './read-user-session.js';
import { pinningSql, type UserSession } from './session-settings.js';
import { StrayGuard } from './stray-statement-guard.js';
import type { TableNames } from './table-prefix.js';
import { WorkTransactions } from './transactions-for-user-code.js';

const OWN_SILENCE_SECONDS = 8;
const QUEUE_MAX = 10_000;

/**
 * The pools with library sessions beside the user's own pool (docs/sessions.md). `own` runs the short statements of the
 * library, such as claims and marks. `workPool` runs the transactions that contain user code, with the settings of the
 * user's sessions. They are separate, so that hanging handlers delay no claim and no mark. If the process dies, the
 * server rolls back the open transactions of both.
 */
export interface Pools {
  readonly own: SessionPool;
  readonly workPool: SessionPool;
  /** The maximum number of connections of `workPool`. */
  readonly workSize: number;
  readonly work: WorkTransactions;
  readonly guard: StrayGuard;
  readonly userSession: UserSession;
  readonly names: TableNames;
}

/**
 * Opens both pools and reads the settings of the user sessions. Throws the error of the database and leaves nothing
 * open.
 */
export async function openPools(
  source: DataSource,
  { hooks, names }: { hooks: CommitHooks; names: TableNames },
  options: CoreOptions,
): Promise<Pools> {
  const { lockWaitSeconds, ownPoolSize, strayStatements, workSilenceSeconds } = options;
  const waits = waitsOf(options);
  // The server takes the row locks of a process that is stopped during a claim.
  const ownPins = pinningSql({ lockWaitSeconds, silenceSeconds: OWN_SILENCE_SECONDS });
  const own = poolBeside(source, ownPins, { size: ownPoolSize, queueMax: QUEUE_MAX, names, ...waits });
  const userSession = await readUserSession(source, own).catch(async (error) => {
    await own.end();
    throw error;
  });
  const size = options.workPoolSize ?? poolSizeOf(source);
  const workPins = pinningSql({ lockWaitSeconds, asTheUsers: userSession, silenceSeconds: workSilenceSeconds });
  const idleMs = (workSilenceSeconds * 1_000) / 2;
  const workPool = poolLike(source, workPins, { size, queueMax: QUEUE_MAX, idleMs, names, ...waits });
  const guard = new StrayGuard(source, strayStatements);
  const limits = { limitMs: options.handlerTimeoutMs, pingMs: (workSilenceSeconds * 1_000) / 4, lockWaitSeconds };
  const work = new WorkTransactions({ source, pool: workPool, hooks, guard, shares: new WorkShares(size), limits });
  return { own, workPool, workSize: size, work, guard, userSession, names };
}

/** The extra time in milliseconds for the server to answer a lock wait first. */
const BEYOND_LOCK_WAIT_MS = 2_000;

export function waitsOf({ acquireTimeoutMs, statementTimeoutMs, lockWaitSeconds }: CoreOptions): Required<Waits> {
  const statementMs = Math.max(statementTimeoutMs, lockWaitSeconds * 1_000 + BEYOND_LOCK_WAIT_MS);
  return { acquireMs: acquireTimeoutMs, statementMs };
}

/** The pool size of the user. The default of mysql2 is ten. */
export function poolSizeOf(source: DataSource): number {
  const { connectionLimit } = connectionOptionsOf(source);
  return Number(connectionLimit) || 10;
}
