// Step 4 of 5 - settle: one branch from a session that is not its own. What the server answers there proves nothing.
import { isDuplicateKey, isLockWait } from '../core/errors/sql-errors.js';
import type { Query } from './dialect.js';
import type { Resource } from './resource-manager.js';
import { isAnswered } from './session.js';
import { xidSql } from './xid.js';

/**
 * What is known of the branch now. `held`: a session still has it, and only the end of that session tells.
 * `contrary`: it has gone the other way, by hand or by a server that was set back (a heuristic outcome); a person must
 * look.
 */
export type Settled = 'done' | 'held' | 'contrary';

type Who = 'branch' | 'recovery';

/**
 * What the branch has left in this database. `held`: its witness is written and not committed, so the branch itself is
 * here, at work or prepared. Null: it has left nothing here; whatever the server lists under its xid has worked in
 * another database of the same server, whose log this one is a copy of.
 */
export type Trace = Who | 'held' | null;

/** A branch in the database where it works: by its name there, which may be another one than the database has here. */
export interface Place {
  readonly resource: Resource;
  readonly gtrid: string;
  readonly branch: string;
}

/** Looks for its trace without waiting. */
export function traceOf({ resource, gtrid, branch }: Place): Promise<Trace> {
  return resource.ask((query) => witnessOf(query, { gtrid, branch, lock: resource.sharedNowait }));
}

/**
 * Commits a prepared branch that is here. XAER_NOTA (1397) comes for one that is committed, rolled back, not known, or
 * prepared on a session that is still open (MariaDB); and OK came, on MariaDB, for one that was lost to a reset. So
 * whatever was answered, only the witness counts, which became visible with the branch.
 */
export async function commitBranch({ resource, gtrid, branch }: Place): Promise<Settled> {
  return resource.ask(async (query) => {
    const before = await witnessOf(query, { gtrid, branch, lock: resource.sharedNowait });
    // guard: xa.commit-trace
    if (before !== 'held') return before === 'branch' ? 'done' : 'contrary';
    await refusalOf(query(`XA COMMIT ${xidSql(gtrid, branch)}`));
    const who = await witnessOf(query, { gtrid, branch, lock: WAITING });
    // guard: xa.commit-witness
    if (who === 'held') return 'held';
    return who === 'branch' ? 'done' : 'contrary';
  });
}

/**
 * Rolls a branch back, if it is here, and takes its witness: a branch that wakes up later finds it taken and cannot be
 * prepared unnoticed. While the branch is alive in a session of its own, the claim has to wait for that.
 */
export async function rollBackBranch({ resource, gtrid, branch }: Place): Promise<Settled> {
  return resource.ask(async (query) => {
    const before = await witnessOf(query, { gtrid, branch, lock: resource.sharedNowait });
    // guard: xa.roll-back-trace
    if (before === 'held') await refusalOf(query(`XA ROLLBACK ${xidSql(gtrid, branch)}`));
    try {
      // guard: xa.claim
      await query(CLAIM_SQL, [gtrid, branch]);
      return 'done';
    } catch (error) {
      if (isLockWait(error)) return 'held';
      if (!isDuplicateKey(error)) throw error;
    }
    const who = await witnessOf(query, { gtrid, branch, lock: WAITING });
    if (who === 'held') return 'held';
    return who === 'recovery' ? 'done' : 'contrary';
  });
}

const CLAIM_SQL = `INSERT INTO dtx_xa_witness (gtrid, branch, who, created_at) VALUES (?, ?, 'recovery', UTC_TIMESTAMP(3))`;
/** For as long as the session waits for a lock, on either vendor. */
const WAITING = 'LOCK IN SHARE MODE';

/** A locking read: the row of a branch that is still prepared, or at work, is locked by it. */
async function witnessOf(query: Query, of: { gtrid: string; branch: string; lock: string }): Promise<Trace> {
  try {
    const [row] = await query(`SELECT who FROM dtx_xa_witness WHERE gtrid = ? AND branch = ? ${of.lock}`, [
      of.gtrid,
      of.branch,
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
