import { existsSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { logLines } from '../fixtures/app-logs.js';
import { AppProcess } from '../fixtures/app-process.js';
import { expectProblem } from '../fixtures/expect-problem.js';
import { freePort } from '../fixtures/free-port.js';
import { PrivateDatabase } from '../fixtures/private-database.js';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { buy } from './xa-purchase.js';

/** Of the package `galera-4`, which MariaDB does not need otherwise. */
const PROVIDER = process.env.TEST_GALERA_PROVIDER ?? '/usr/lib/galera/libgalera_smm.so';
const isInstalled = existsSync(PROVIDER);
let server: PrivateDatabase;
let sandbox: Sandbox;
let stack: Stack;

beforeAll(async () => {
  if (!isInstalled) return;
  const [listen, receive] = [await freePort(), await freePort()];
  const options = `gmcast.listen_addr=tcp://127.0.0.1:${listen};ist.recv_addr=127.0.0.1:${receive}`;
  const cluster = ['--wsrep-on=ON', '--wsrep-new-cluster', '--wsrep-cluster-address=gcomm://', '--binlog-format=ROW'];
  const provider = [`--wsrep-provider=${PROVIDER}`, `--wsrep-provider-options=${options}`];
  server = await PrivateDatabase.start('galera', [...cluster, ...provider]);
  sandbox = await freshSandbox('galera', { audited: false });
  stack = new Stack(sandbox);
}, 180_000);

afterAll(async () => {
  await stack?.stop();
  await server?.stop();
});

test('a Galera node as a branch database is refused at start with its reason, and POST /orders/xa is 503', async (context) => {
  context.skip(!isInstalled, 'needs the package galera-4');
  const env = { DTX_XA_PAYMENT_DATABASE_URL: server.url.replace('/?', '/mysql?') };
  const options = { xa: { acquireTimeoutMs: 200 } };
  const order = await AppProcess.start('order', { sandbox, env, options });
  stack.instances.push(order);
  const line = await until('the log says why', () =>
    logLines(order).find(({ message }) => message.startsWith('XA cannot use payment')),
  );
  expect([line.level, line.message]).toEqual(['error', expect.stringMatching(/refuses XA START: .*Galera/)]);
  expectProblem(await buy(order.url, 'galera', { buyerId: 'alice', sku: 'book', quantity: 1 }), 503);
  const { status, body } = await call(`${order.url}/health/ready`);
  expect(status).toBe(200);
  expect(body.reasons).toMatchObject({ 'xa payment': expect.stringMatching(/refuses XA START/) });
});
