/** Branches and decisions that a test makes or ends itself, as a dead process leaves them or as a person would. */
import { createConnection } from 'mysql2/promise';
import { newId } from '../../libs/dtx/src/index.js';
import { type AppName, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { logIdOf, preparedOf } from './branches-and-decisions.js';

export const FORMAT_ID = 0x6e647478;

/** Writes the decision to commit of a process that dies right then. It is due at once, or never. */
export async function decideToCommit(
  sandbox: Sandbox,
  {
    id,
    gtrid,
    branches = 'payment,inventory',
    isDue = true,
  }: { id: string; gtrid: string; branches?: string; isDue?: boolean },
): Promise<void> {
  const due = isDue ? 'UTC_TIMESTAMP(3)' : 'UTC_TIMESTAMP(3) + INTERVAL 1 HOUR';
  await sql(
    sandbox,
    'order',
    `INSERT INTO dtx_xa (id, gid, gtrid, branches, decision, state, created_at, decided_at, next_attempt_at)
     VALUES (?, ?, ?, ?, 'COMMIT', 'COMMITTING', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), ${due})`,
    [id, id, gtrid, branches],
  );
}

/** A prepared branch without a decision, as a dead process leaves it: its witness and its locks, without a connection. */
export async function orphan(
  sandbox: Sandbox,
  { app = 'payment', logId, ageMs = 60_000 }: { app?: AppName; logId?: string; ageMs?: number } = {},
): Promise<{ id: string; gtrid: string }> {
  const begun = await begin(sandbox, { logId, ageMs });
  await prepare(sandbox, app, { gtrid: begun.gtrid, formatId: FORMAT_ID });
  return begun;
}

/** The ids of a transaction that was begun so long ago, and how long it had. */
export async function begin(
  sandbox: Sandbox,
  { logId, ageMs = 60_000, timeoutMs = 100 }: { logId?: string | undefined; ageMs?: number; timeoutMs?: number } = {},
): Promise<{ id: string; gtrid: string }> {
  const [{ ms }] = (await sql<{ ms: number }>(sandbox, 'order', `SELECT ${NOW_MS} AS ms`)) as [{ ms: number }];
  const id = newId(Number(ms) - ageMs);
  return { id, gtrid: `${logId ?? (await logIdOf(sandbox))}.${timeoutMs.toString(16).padStart(6, '0')}.${id}` };
}

/** Prepares a branch with its witness on a connection of its own, and ends the connection. */
export function prepare(sandbox: Sandbox, app: AppName, of: { gtrid: string; formatId: number }): Promise<void> {
  return prepareIn(sandbox.databases[app], app, of);
}

/** The same in any database, by the name that its manager has for it. */
export async function prepareIn(
  url: string,
  branch: string,
  { gtrid, formatId }: { gtrid: string; formatId: number },
): Promise<void> {
  const xid = xidOf(gtrid, branch, formatId);
  const connection = await createConnection({ uri: url, multipleStatements: true });
  await connection.query(
    `XA START ${xid}; INSERT INTO dtx_xa_witness VALUES (?, ?, 'branch', UTC_TIMESTAMP(3)); XA END ${xid}; XA PREPARE ${xid}`,
    [gtrid, branch],
  );
  await connection.end();
}

/** Ends a branch that only the test can end, after its connection has released it. */
export function finish(
  sandbox: Sandbox,
  app: AppName,
  { gtrid, formatId, how }: { gtrid: string; formatId: number; how: 'COMMIT' | 'ROLLBACK' },
): Promise<unknown> {
  return until('the branch is ended by hand', () =>
    sql(sandbox, app, `XA ${how} ${xidOf(gtrid, app, formatId)}`).then(() => true),
  );
}

export function xidOf(gtrid: string, branch: string, formatId: number): string {
  const hex = (text: string) => `X'${Buffer.from(text).toString('hex')}'`;
  return `${hex(gtrid)},${hex(branch)},${formatId}`;
}

const NOW_MS = `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000`;

/** Rolls back whatever this sandbox has left prepared, once its apps have gone. */
export async function endAll(sandbox: Sandbox): Promise<void> {
  for (const { app, gtrid } of await preparedOf(sandbox))
    await finish(sandbox, app, { gtrid, formatId: FORMAT_ID, how: 'ROLLBACK' });
}
