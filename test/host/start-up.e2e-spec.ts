import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { logLines } from '../fixtures/app-logs.js';
import { ADMIN_TOKEN, AppProcess } from '../fixtures/app-process.js';
import { type AppName, freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { call } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const SECRET = 's3cr3t';
let sandbox: Sandbox;
let occupied: Server;
let occupiedPort: string;
const started: AppProcess[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('start_up', { audited: false });
  occupied = createServer();
  await new Promise<void>((listening) => occupied.listen(0, '127.0.0.1', listening));
  occupiedPort = String((occupied.address() as { port: number }).port);
});

afterAll(async () => {
  occupied?.close();
  await Promise.all(started.map((instance) => instance.kill()));
});

/** Runs an app that is not to come up, to its end. */
async function refused(app: AppName, env: Record<string, string>): Promise<AppProcess> {
  const instance = AppProcess.spawn(app, { sandbox, env });
  started.push(instance);
  await instance.untilExited(45_000);
  return instance;
}

async function up(app: AppName, env: Record<string, string>): Promise<AppProcess> {
  const instance = AppProcess.spawn(app, { sandbox, env });
  started.push(instance);
  await instance.untilListening();
  return instance;
}

/** One line for a person; what Nest logs of its modules on the way there is information, not an error. */
function expectOneLine(instance: AppProcess, variable: string): void {
  expect(instance.child.exitCode, instance.log()).toBe(1);
  const lines = logLines(instance).filter(({ level }) => level !== 'log');
  expect(lines.map(({ message }) => message)).toEqual([
    expect.stringMatching(new RegExp(`^${instance.app}: .*${variable}`)),
  ]);
  expect(instance.log()).not.toMatch(/\n? {4}at /);
  expect(instance.log()).not.toContain(SECRET);
}

type Case = readonly [AppName, string, string];
/** One for each place that checks. The unit spec of `readEnv` has the table of wrong values. */
const wrong: Case[] = [
  ['payment', 'DTX_DATABASE_URL', `postgres://root:${SECRET}@127.0.0.1/shop`],
  ['inventory', 'DTX_RABBITMQ_URL', ''],
  ['order', 'DTX_REDIS_URL', ''],
  ['order', 'DTX_XA_INVENTORY_DATABASE_URL', ''],
  ['payment', 'DTX_OPTIONS', '{"core":{"leaseMS":5}}'],
  ['inventory', 'DTX_OPTIONS', '{"localMessage":{"resend":{"first":5}}}'],
  ['order', 'DTX_FAILPOINTS', 'local-message.nowhere=crash'],
  ['payment', 'DTX_FAILPOINTS', 'local-message.handled=explode'],
];

describe('a wrong or missing variable stops the app with exit code 1 and one line that names it', () => {
  test.each(wrong)('the %s app does not start with %s=%s', async (app, variable, value) => {
    expectOneLine(await refused(app, { [variable]: value }), variable);
  });

  test('a port that is taken stops the app', async () => {
    expectOneLine(await refused('payment', { PORT: occupiedPort }), 'PORT');
  });

  test.each([
    ['DTX_FAILPOINTS', { DTX_FAILPOINTS: 'local-message.handled=crash' }],
    ['DTX_ADMIN_TOKEN', { DTX_ADMIN_TOKEN: '' }],
  ])('an app with NODE_ENV=production does not start with %s=%j', async (variable, env) => {
    expectOneLine(await refused('order', { NODE_ENV: 'production', ...env }), variable);
  });

  test('the error names a wrong option by its path', async () => {
    const instance = await refused('order', { DTX_OPTIONS: '{"core":{"inbox":{"attemptsMax":"two"}}}' });
    expectOneLine(instance, 'DTX_OPTIONS');
    expect(instance.log()).toContain('core.inbox.attemptsMax');
  });
});

describe('an app that comes up', () => {
  test('an app in production uses the given token and listens on all addresses', async () => {
    const instance = await up('inventory', { NODE_ENV: 'production', HOST: '127.0.0.1' });
    const summary = (token: string) =>
      call(`${instance.url}/dtx/summary`, { headers: { authorization: `Bearer ${token}` } });
    await until('its database is open', async () => (await summary(ADMIN_TOKEN)).status === 200);
    expect((await summary('another')).status).toBe(401);
    expect(instance.log()).not.toContain(ADMIN_TOKEN);
    await instance.stop();
    expect(instance.child.exitCode).toBe(0);
  });

  test('an app without a token makes one and prints it', async () => {
    const instance = await up('payment', { DTX_ADMIN_TOKEN: '' });
    const token = await until(
      'it tells the token',
      () => /token for \/dtx[^"]* is ([\w-]{20,})/.exec(instance.log())?.[1],
    );
    const headers = { authorization: `Bearer ${token}` };
    await until('the token opens', async () => (await call(`${instance.url}/dtx/summary`, { headers })).status === 200);
  });

  test('the first call finds an open database, even a slow one', async () => {
    await (await up('payment', {})).stop(); // migrated
    const proxy = await TcpProxy.start(sandbox.databases.payment);
    onTestFinished(() => proxy.close());
    proxy.delay(1);
    const instance = await up('payment', { DTX_DATABASE_URL: proxy.url });
    expect((await call(`${instance.url}/checkouts/00000000-0000-7000-8000-000000000000`)).status).toBe(404);
  });

  test('an app with a refused password stays up, names the unavailable servers, and never shows the password', async () => {
    const withPassword = (url: string) => Object.assign(new URL(url), { password: SECRET }).href;
    const env = {
      DTX_DATABASE_URL: withPassword(sandbox.databases.order),
      DTX_RABBITMQ_URL: withPassword(sandbox.rabbitmq),
    };
    const instance = await up('order', env);
    await until(
      'it says so',
      () => /Access denied/i.test(instance.log()) && /cannot connect to RabbitMQ/.test(instance.log()),
    );
    expect((await call(`${instance.url}/health/ready`)).status).toBe(503);
    expect(instance.log()).not.toContain(SECRET);
  });
});
