import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { management } from '../../tools/src/servers/broker-api.js';
import { logLines } from '../fixtures/app-logs.js';
import type { AppProcess } from '../fixtures/app-process.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const options = { core: { reconnect: { capMs: 300 } } };
let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('readiness', { audited: false });
  shop = new Stack(sandbox, { options });
  await shop.start();
});

afterAll(() => shop?.stop());

interface Said {
  status: number;
  degraded: string[];
  reasons: Record<string, string>;
}

async function readiness({ url }: AppProcess): Promise<Said> {
  const { status, body } = await call(`${url}/health/ready`);
  const { degraded = [], reasons = {} } = body as Partial<Said>;
  return { status, degraded, reasons };
}

const untilDegraded = (instance: AppProcess, names: string[]) =>
  until(`${instance.app} says ${names.join() || 'that nothing is degraded'}`, async () => {
    const said = await readiness(instance);
    return said.status === 200 && said.degraded.join() === names.join() && said;
  });

/** One more instance, which the others are not disturbed by. */
async function another(app: 'order' | 'inventory', env: Record<string, string>): Promise<AppProcess> {
  const [instance] = await new Stack(sandbox, { options, env }).start([app]);
  shop.instances.push(instance!);
  return instance!;
}

async function unready(app: 'inventory', env: Record<string, string>): Promise<AppProcess> {
  const stack = new Stack(sandbox, { options, env });
  void stack.start([app]).catch(() => {});
  const instance = stack.instances[0]!;
  shop.instances.push(instance);
  await instance.untilListening();
  return instance;
}

test('readiness names a queue that the broker refuses to deliver, with the reason', async () => {
  const [name, password] = ['readiness_writer', 'writer-secret'];
  await management(sandbox.management, 'PUT', `/users/${name}`, { password, tags: '' });
  const rights = { configure: '.*', write: '.*', read: '^(?!dtx\\.inventory\\.take-stock).*$' };
  await management(sandbox.management, 'PUT', `/permissions/${encodeURIComponent(sandbox.vhost)}/${name}`, rights);
  const broker = new URL(sandbox.rabbitmq);
  broker.username = name;
  broker.password = password;
  const instance = await unready('inventory', { DTX_RABBITMQ_URL: broker.href });
  const queue = 'consumer dtx.inventory.take-stock.v1';
  const { reasons } = await untilDegraded(instance, [queue]);
  expect(reasons[queue]).toMatch(/ACCESS.REFUSED/);
  await management(sandbox.management, 'PUT', `/permissions/${encodeURIComponent(sandbox.vhost)}/${name}`, {
    ...rights,
    read: '.*',
  });
  await untilDegraded(instance, []);
  await instance.stop();
});

test('readiness names a Redis without writes, and the log has it once', async () => {
  const redis = new Redis(sandbox.redis);
  const may = (rights: string[]) =>
    redis.call('ACL', 'SETUSER', 'readiness', 'reset', 'on', '>reader-secret', '~*', ...rights);
  await may(['+@all']);
  const url = new URL(sandbox.redis);
  url.username = 'readiness';
  url.password = 'reader-secret';
  const instance = await another('order', { DTX_REDIS_URL: url.href });
  await may(['+@read', '+ping', '+info', '+client']);
  const { reasons } = await untilDegraded(instance, ['redis']);
  expect(reasons.redis).toMatch(/NOPERM/);
  await may(['+@all']);
  await untilDegraded(instance, []);
  const lines = logLines(instance).filter(({ context }) => context === 'nest-dtx readiness');
  expect(lines.map(({ level, message }) => [level, message.slice(0, 5)])).toEqual([
    ['warn', 'redis'],
    ['log', 'redis'],
  ]);
  await redis.quit();
  await instance.stop();
});

test('readiness names a silent branch database, and the log has the reason once', async () => {
  const proxy = await TcpProxy.start(sandbox.databases.payment);
  const instance = await another('order', { DTX_XA_PAYMENT_DATABASE_URL: proxy.url });
  await until('it is open', () => /branch database payment is /.test(instance.log()));
  proxy.cut();
  const { reasons } = await untilDegraded(instance, ['xa payment']);
  expect(reasons['xa payment']).toMatch(/was not scanned for \d+ s: .+/);
  await until('the log has it', () =>
    logLines(instance).some(({ message }) => /branch database payment was not/.test(message)),
  );
  proxy.heal();
  await untilDegraded(instance, []);
  const lines = logLines(instance).filter(({ message }) => /^branch database payment (was not|works)/.test(message));
  expect(lines.map(({ level }) => level)).toEqual(['warn', 'log']);
  await instance.stop();
  await proxy.close();
});

test('readiness names the table of a loop that cannot scan, and the log has the reason once', async () => {
  const instance = await another('inventory', {});
  await sql(sandbox, 'inventory', 'RENAME TABLE dtx_outbox TO outbox_away');
  try {
    const found = await until('its loop is named', async () => {
      const { status, reasons } = await readiness(instance);
      return status === 200 && reasons['scan dtx_outbox'];
    });
    expect(found).toMatch(/^no completed scan for \d+ s: .*dtx_outbox.* doesn't exist/);
  } finally {
    await sql(sandbox, 'inventory', 'RENAME TABLE outbox_away TO dtx_outbox');
  }
  await untilDegraded(instance, []);
  const about = logLines(instance).filter(({ message }) => message.startsWith('scan dtx_outbox'));
  expect(about.map(({ level }) => level)).toEqual(['warn', 'log']);
  await instance.stop();
});
