import { afterAll, beforeAll, expect, test } from 'vitest';
import { logLines } from '../../fixtures/app-logs.js';
import { AppProcess } from '../../fixtures/app-process.js';
import { PrivateDatabase } from '../../fixtures/private-database.js';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { call, Stack } from '../../fixtures/three-apps.js';
import { until } from '../../fixtures/until.js';

const REMEDY = /binlog_format = STATEMENT .* set binlog_format to ROW or MIXED/;
let server: PrivateDatabase;
let sandbox: Sandbox;
let stack: Stack;

beforeAll(async () => {
  server = await PrivateDatabase.start('statements', [
    '--server-id=1',
    '--log-bin=binlog',
    '--binlog-format=STATEMENT',
  ]);
  sandbox = await server.sandbox('binlog_format');
  stack = new Stack(sandbox, { options: { core: { reconnect: { capMs: 300 } } } });
}, 180_000);

afterAll(async () => {
  await stack?.stop();
  await server?.stop();
});

type Reasons = Record<string, string>;

async function readiness({ url }: AppProcess): Promise<{ status: number; detail: string; reasons: Reasons }> {
  const { status, body } = await call(`${url}/health/ready`);
  return { status, detail: String(body.detail), reasons: (body.reasons ?? {}) as Reasons };
}

test('a server with a binary log of statements is named at start and in readiness, and is used once it logs rows', async () => {
  const order = AppProcess.spawn('order', { sandbox, options: { core: { reconnect: { capMs: 300 } } } });
  stack.instances.push(order);
  await order.untilListening();
  const line = await until('the log names the setting', () =>
    logLines(order).find(({ message }) => message.startsWith('cannot use the database')),
  );
  expect(line.message).toMatch(REMEDY);
  const { status, detail } = await readiness(order);
  expect([status, detail]).toEqual([503, expect.stringMatching(REMEDY)]);
  expect(logLines(order).filter(({ message }) => message.startsWith('cannot use the database'))).toHaveLength(1);

  await server.sql(`SET GLOBAL binlog_format = 'ROW'`);
  await until('it is ready', async () => (await readiness(order)).status === 200);
});

test('a branch database with a binary log of statements is named as degraded, and the app is ready', async () => {
  await server.sql(`SET GLOBAL binlog_format = 'STATEMENT'`);
  const shared = await freshSandbox('binlog_format_branch', { audited: false });
  const env = { DTX_XA_PAYMENT_DATABASE_URL: sandbox.databases.payment };
  const order = await AppProcess.start('order', { sandbox: shared, env, label: 'branch' });
  stack.instances.push(order);
  const reason = await until('the branch database is named', async () => {
    const { status, reasons } = await readiness(order);
    return status === 200 && reasons['xa payment'];
  });
  expect(reason).toMatch(REMEDY);
  await server.sql(`SET GLOBAL binlog_format = 'ROW'`);
  await until('the setting is not named any more', async () => {
    const { status, reasons } = await readiness(order);
    return status === 200 && !REMEDY.test(reasons['xa payment'] ?? '');
  });
});
