// Step 4 of 5 - settle: one branch from a session that is not its own. What the server answers there proves nothing.
import { isDuplicateKey, isLockWait } from '../core/database/sql-errors.js';
import type { Query } from './dialect.js';
import type { Resource } from './resource.js';
import { isAnswered } from './session.js';
import { xidSql } from './xid.js';

/**
 * What is known of the branch now. `held`: somebody's session still has it, and only the end of that session tells.
 * `contrary`: it has gone the other way, by somebody's hand or a server's (a heuristic outcome); a person must look.
 */
export type Settled = 'done' | 'held' | 'contrary';

type Who = 'branch' | 'recovery';

/**
 * Commits a prepared branch. XAER_NOTA (1397) comes for one that is committed, rolled back, not known, or prepared on a
 * session that is still open (MariaDB); and OK came, on MariaDB, for one that was lost to a reset. So whatever was
 * answered, only the witness counts, which became visible with the branch.
 */
export async function commitBranch(resource: Resource, gtrid: string): Promise<Settled> {
  return resource.ask(async (query) => {
    await refusalOf(query(`XA COMMIT ${xidSql(gtrid, resource.name)}`));
    const who = await witnessOf(query, gtrid, resource.name);
    if (who === 'held') return 'held';
    return who === 'branch' ? 'done' : 'contrary';
  });
}

/**
 * Rolls a branch back, prepared or not, and takes its witness: a branch that wakes up later finds it taken and cannot
 * be prepared unnoticed. While the branch is alive in a session of its own, the claim has to wait for that.
 */
export async function rollBackBranch(resource: Resource, gtrid: string): Promise<Settled> {
  return resource.ask(async (query) => {
    await refusalOf(query(`XA ROLLBACK ${xidSql(gtrid, resource.name)}`));
    try {
      await query(CLAIM_SQL, [gtrid, resource.name]);
      return 'done';
    } catch (error) {
      if (isLockWait(error)) return 'held';
      if (!isDuplicateKey(error)) throw error;
    }
    const who = await witnessOf(query, gtrid, resource.name);
    if (who === 'held') return 'held';
    return who === 'recovery' ? 'done' : 'contrary';
  });
}

const CLAIM_SQL = `INSERT INTO dtx_xa_witness (gtrid, branch, who, created_at) VALUES (?, ?, 'recovery', UTC_TIMESTAMP(3))`;

/** A locking read: the row of a branch that is still prepared, or at work, is locked by it. */
async function witnessOf(query: Query, gtrid: string, branch: string): Promise<Who | 'held' | null> {
  try {
    const [row] = await query('SELECT who FROM dtx_xa_witness WHERE gtrid = ? AND branch = ? LOCK IN SHARE MODE', [
      gtrid,
      branch,
    ]);
    return row ? (row.who as Who) : null;
  } catch (error) {
    if (isLockWait(error)) return 'held';
    throw error;
  }
}

/** The server's no is no answer here; that it does not answer at all is another matter. */
async function refusalOf(statement: Promise<unknown>): Promise<void> {
  await statement.catch((error) => {
    if (!isAnswered(error)) throw error;
  });
}
