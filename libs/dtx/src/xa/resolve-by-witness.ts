// Step 4 of 5 - settle: one in-doubt branch from another session. Only the witness is proof, never the answer of the
// server. If the process dies in between, the branch has ended or is prepared as before, and the next round reads its
// witness again.
import { OptionsError } from '../core/errors/errors.js';
import { isDuplicateKey, isLockWait } from '../core/errors/sql-errors.js';
import { isAnswered } from './branch-connection.js';
import type { Query } from './dialect.js';
import type { ResourceManager } from './resource-manager.js';
import { FORMAT_ID, type Xid, xidSql } from './xid.js';

/**
 * The state of a branch after an attempt to end it. `held`: it is prepared, and its session has not ended yet.
 * `unlisted`: its witness is locked, and the server does not list it. A session works in it, or the server has lost it
 * and keeps its locks until a restart. `heuristic`: it was resolved against the decision, by hand or by a restored
 * server. An operator must look.
 */
export type Resolution = 'done' | 'held' | 'unlisted' | 'heuristic';

type WitnessWriter = 'branch' | 'recovery';

/**
 * The evidence of a branch in this database. `held`: its witness is written and not committed, so the branch is here,
 * working or prepared. Null: no evidence. If the server lists a branch under this xid, it works in another database of
 * the server. The decision logs of both databases are then copies of one.
 */
export type Trace = WitnessWriter | 'held' | null;

/**
 * A branch in the database where it works. `branch` is the name in its xid, which may differ from the name configured
 * here.
 */
export interface Place {
  readonly resource: ResourceManager;
  readonly gtrid: string;
  readonly branch: string;
}

/** Reads the witness of a branch without waiting for locks. */
export function traceOf({ resource, gtrid, branch }: Place): Promise<Trace> {
  return resource.ask((query) => witnessOf(query, { gtrid, branch, lock: resource.sharedNowait }));
}

/**
 * Commits a prepared branch. The server answers XAER_NOTA (1397) for a branch that is committed, rolled back, unknown,
 * or prepared on a session that is still open (MariaDB). MariaDB also answers OK for a branch that a reset lost. So
 * only the witness counts: it becomes visible with the branch. See docs/schemes/xa.md.
 */
export async function commitBranch({ resource, gtrid, branch }: Place): Promise<Resolution> {
  return resource.ask(async (query) => {
    const before = await witnessOf(query, { gtrid, branch, lock: resource.sharedNowait });
    // guard: xa.commit-trace
    if (before !== 'held') return before === 'branch' ? 'done' : 'heuristic';
    await refusalOf(query(`XA COMMIT ${xidSql(gtrid, branch)}`));
    const who = await witnessOf(query, { gtrid, branch, lock: WAITING });
    // guard: xa.commit-witness
    if (who === 'held') return holderOf(query, { resource, gtrid, branch });
    return who === 'branch' ? 'done' : 'heuristic';
  });
}

/**
 * Rolls a branch back if it is here, and claims its witness. A branch that resumes later finds the key taken and cannot
 * be prepared. While the branch lives in a session of its own, the claim waits for that session.
 */
export async function rollBackBranch({ resource, gtrid, branch }: Place): Promise<Resolution> {
  return resource.ask(async (query) => {
    const before = await witnessOf(query, { gtrid, branch, lock: resource.sharedNowait });
    // guard: xa.roll-back-trace
    if (before === 'held') await refusalOf(query(`XA ROLLBACK ${xidSql(gtrid, branch)}`));
    try {
      // guard: xa.claim
      await query(CLAIM_SQL, [gtrid, branch]);
      return 'done';
    } catch (error) {
      if (isLockWait(error)) return holderOf(query, { resource, gtrid, branch });
      if (!isDuplicateKey(error)) throw error;
    }
    const who = await witnessOf(query, { gtrid, branch, lock: WAITING });
    if (who === 'held') return holderOf(query, { resource, gtrid, branch });
    return who === 'recovery' ? 'done' : 'heuristic';
  });
}

/** Tells a prepared branch from one that the server does not list, after its locks were met. */
async function holderOf(query: Query, { resource, gtrid, branch }: Place): Promise<Resolution> {
  const isThis = (xid: Xid) => xid.formatId === FORMAT_ID && xid.gtrid === gtrid && xid.branch === branch;
  // Without the right to list branches there is nothing to tell.
  const isListed = await resource.list(query).then(
    (listed) => listed.some(isThis),
    (error) => {
      if (!(error instanceof OptionsError)) throw error;
      return true;
    },
  );
  if (isListed) return 'held';
  // It may have ended between the two looks. The next round then finds its witness.
  const now = await witnessOf(query, { gtrid, branch, lock: resource.sharedNowait });
  return now === 'held' ? 'unlisted' : 'held';
}

const CLAIM_SQL = `INSERT INTO dtx_xa_witness (gtrid, branch, who, created_at) VALUES (?, ?, 'recovery', UTC_TIMESTAMP(3))`;
/** Waits up to the lock wait limit of the session, on both vendors. */
const WAITING = 'LOCK IN SHARE MODE';

/** A locking read: the branch locks its witness while it works or is prepared. */
async function witnessOf(query: Query, of: { gtrid: string; branch: string; lock: string }): Promise<Trace> {
  try {
    const [row] = await query(`SELECT who FROM dtx_xa_witness WHERE gtrid = ? AND branch = ? ${of.lock}`, [
      of.gtrid,
      of.branch,
    ]);
    return row ? (row.who as WitnessWriter) : null;
  } catch (error) {
    if (isLockWait(error)) return 'held';
    throw error;
  }
}

/** Ignores a refusal by the server. Throws when the server does not answer. */
async function refusalOf(statement: Promise<unknown>): Promise<void> {
  await statement.catch((error) => {
    if (!isAnswered(error)) throw error;
  });
}
