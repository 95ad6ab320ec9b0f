import { type AppName, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

export const BRANCHES = ['payment', 'inventory'] as const;

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
