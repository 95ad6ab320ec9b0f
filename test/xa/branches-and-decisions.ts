import { createConnection } from 'mysql2/promise';
import { newId } from '../../libs/dtx/src/index.js';
import { type AppName, type Sandbox, sql } from '../fixtures/sandbox.js';
import { type Answer, call } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

export const BRANCHES = ['payment', 'inventory'] as const;
export const FORMAT_ID = 0x6e647478;

export function buy(url: string, key: string | undefined, body: object): Promise<Answer> {
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  if (key !== undefined) headers['idempotency-key'] = key;
  return call(`${url}/orders/xa`, { method: 'POST', headers, body: JSON.stringify(body) });
}

/** The id of the sandbox's decision log: its own branches carry it. */
export async function logIdOf(sandbox: Sandbox): Promise<string> {
  const [row] = await sql<{ log_id: string }>(sandbox, 'order', 'SELECT log_id FROM dtx_xa_log');
  return row!.log_id;
}

export interface Prepared {
  readonly app: AppName;
  readonly gtrid: string;
}

/** Branches of this sandbox that are prepared now, on either vendor. */
export async function preparedOf(sandbox: Sandbox): Promise<Prepared[]> {
  const own = await logIdOf(sandbox);
  const all = await Promise.all(BRANCHES.map((app) => recover(sandbox, app)));
  return all.flat().filter(({ gtrid }) => gtrid.startsWith(`${own}.`));
}

/** How many branches of a transaction are prepared now. */
export const leftOf = async (sandbox: Sandbox, gtrid: string): Promise<number> =>
  (await preparedOf(sandbox)).filter((one) => one.gtrid === gtrid).length;

/** Every prepared branch of a server, of any owner. */
export async function recover(sandbox: Sandbox, app: AppName): Promise<Prepared[]> {
  const rows = await sql<{ data: string | Buffer; gtrid_length: number }>(sandbox, app, 'XA RECOVER');
  return rows.map(({ data, gtrid_length: length }) => ({
    app,
    gtrid: Buffer.from(data as string).toString('latin1', 0, Number(length)),
  }));
}

export interface DecisionRow {
  id: string;
  gid: string;
  gtrid: string;
  decision: string | null;
  state: string;
  attempts: number;
  last_error: string | null;
}

export function decisions(sandbox: Sandbox, gid?: string): Promise<DecisionRow[]> {
  const columns = 'SELECT id, gid, gtrid, decision, state, attempts, last_error FROM dtx_xa';
  return gid === undefined
    ? sql<DecisionRow>(sandbox, 'order', columns)
    : sql<DecisionRow>(sandbox, 'order', `${columns} WHERE gid = ?`, [gid]);
}

/** The decision on a transaction that has one. */
export const rowOf = async (sandbox: Sandbox, id: string): Promise<DecisionRow> =>
  (await decisions(sandbox)).find((row) => row.id === id)!;

export const untilDone = (sandbox: Sandbox, id: string) =>
  until(`${id} is over`, async () => (await rowOf(sandbox, id))?.state === 'DONE');

/** Who has left a witness at each branch: `branch`, or `recovery` where it was claimed. */
export async function witnesses(sandbox: Sandbox, gtrid: string): Promise<string[]> {
  const all = await Promise.all(
    BRANCHES.map((app) =>
      sql<{ who: string }>(sandbox, app, 'SELECT who FROM dtx_xa_witness WHERE gtrid = ?', [gtrid]),
    ),
  );
  return all.map((rows) => rows.map(({ who }) => who).join());
}

/** No decision is open, and no branch of this sandbox is prepared. */
export function expectNothingLeft(sandbox: Sandbox, withinMs = 30_000): Promise<unknown> {
  return until(
    'nothing is left open',
    async () => {
      const [prepared, open] = await Promise.all([
        preparedOf(sandbox),
        sql(sandbox, 'order', `SELECT id, decision, state, last_error FROM dtx_xa WHERE state <> 'DONE'`),
      ]);
      if (prepared.length + open.length === 0) return true;
      throw new Error(JSON.stringify({ prepared, open }));
    },
    { withinMs },
  );
}

export interface OpenAlert {
  subject: string;
  error: string;
}

/** Open alerts of the order database. */
export function openAlerts(sandbox: Sandbox): Promise<OpenAlert[]> {
  return sql<OpenAlert>(
    sandbox,
    'order',
    'SELECT subject_id AS subject, alert_error AS error FROM dtx_alert WHERE closed_at IS NULL ORDER BY id',
  );
}

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
