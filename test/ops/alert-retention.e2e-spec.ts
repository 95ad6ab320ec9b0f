import { afterAll, beforeAll, test } from 'vitest';
import { newId } from '../../libs/dtx/src/core/ids.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const DAY_MS = 86_400_000;
let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('operations_alert_retention', { audited: false });
  shop = new Stack(sandbox, { options: { core: { purgeIntervalMs: 100 } } });
  await shop.start(['inventory']);
});

afterAll(() => shop?.stop());

test('closed alerts and records of retries go after their retention, and open alerts and resolutions stay', async () => {
  const ago = (days: number) => `UTC_TIMESTAMP(3) - INTERVAL ${days} DAY`;
  const alert = (id: string, opened: number, closed: number | null) =>
    sql(
      sandbox,
      'inventory',
      `INSERT INTO dtx_alert (id, open_key, scheme, subject_id, step, state, opened_at, closed_at)
       VALUES (?, ?, 'xa', ?, 'step', 'LOGGED', ${ago(opened)}, ${closed === null ? 'NULL' : ago(closed)})`,
      [id, closed === null ? `xa:${id}` : null, id],
    );
  const operation = (id: string, action: string, days: number) =>
    sql(
      sandbox,
      'inventory',
      `INSERT INTO dtx_operation (id, scheme, subject_id, action, at) VALUES (?, 'xa', ?, ?, ${ago(days)})`,
      [newId(Date.now() - days * DAY_MS), id, action],
    );
  await alert('open', 400, null);
  await alert('closed-late', 400, 1);
  await alert('over', 400, 91);
  await operation('resolved', 'done', 400);
  await operation('rejected', 'reject', 400);
  await operation('young', 'retry', 1);
  await operation('old', 'retry', 91);
  await operation('old', 'acknowledge', 91);
  const left = async () =>
    [
      ...(await sql<{ id: string }>(sandbox, 'inventory', 'SELECT id FROM dtx_alert ORDER BY id')),
      ...(await sql<{ id: string }>(
        sandbox,
        'inventory',
        'SELECT subject_id AS id FROM dtx_operation ORDER BY subject_id',
      )),
    ].map(({ id }) => id);
  const kept = ['closed-late', 'open', 'rejected', 'resolved', 'young'];
  await until('the old ones are purged', async () => String(await left()) === String(kept));
});
