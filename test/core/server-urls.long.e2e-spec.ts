import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { AppProcess } from '../fixtures/app-process.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { Administrator } from './broker/broker-administrator.js';

const USER = 'ü ser@x';
const PASSWORD = `p@s:w/o#r?d&%[]$'+ ä€`;
const ALL = { configure: '.*', write: '.*', read: '.*' };
const relays: Server[] = [];
let sandbox: Sandbox;
let admin: Administrator;

beforeAll(async () => {
  sandbox = await freshSandbox('addresses');
  admin = await Administrator.of(sandbox);
});

afterAll(async () => {
  for (const app of ['order', 'payment', 'inventory'] as const)
    await sql(sandbox, app, 'DROP USER IF EXISTS ?', [USER]);
  await admin.close([USER]);
  for (const relay of relays) relay.close();
});

/** The same server, reached through the loopback of IPv6. */
async function overIpv6(text: string): Promise<string> {
  const url = new URL(text);
  const target = { host: url.hostname, port: Number(url.port) };
  const relay = createServer((socket) => {
    const server = connect(target);
    socket.on('error', () => server.destroy()).pipe(server);
    server.on('error', () => socket.destroy()).pipe(socket);
  });
  relays.push(relay);
  await new Promise<void>((resolve) => relay.listen(0, '::1', resolve));
  url.host = `[::1]:${(relay.address() as AddressInfo).port}`;
  return url.href;
}

function withAccount(text: string): string {
  const url = new URL(text);
  return `${url.protocol}//${encodeURIComponent(USER)}:${encodeURIComponent(PASSWORD)}@${url.host}${url.pathname}`;
}

async function grant(app: 'order' | 'payment' | 'inventory'): Promise<void> {
  await sql(sandbox, app, 'CREATE USER IF NOT EXISTS ? IDENTIFIED BY ?', [USER, PASSWORD]);
  await sql(sandbox, app, 'GRANT ALL ON *.* TO ?', [USER]);
}

test('an app reaches every server by an IPv6 address and by a name and password with any character', async () => {
  await admin.account(USER, PASSWORD, ALL);
  for (const app of ['order', 'payment', 'inventory'] as const) await grant(app);
  const address = async (url: string) => withAccount(await overIpv6(url));
  const shop = new Stack(sandbox);
  onTestFinished(() => shop.stop());
  await shop.start(['payment', 'inventory']);
  const env = {
    DTX_DATABASE_URL: await address(sandbox.databases.order),
    DTX_RABBITMQ_URL: await address(sandbox.rabbitmq),
    DTX_REDIS_URL: await overIpv6(sandbox.redis),
    DTX_XA_PAYMENT_DATABASE_URL: await address(sandbox.databases.payment),
    DTX_XA_INVENTORY_DATABASE_URL: await address(sandbox.databases.inventory),
  };
  const [order] = await shop.start(['order'], { env });
  await shop.account('anna', 1_000_000);
  await shop.stock('book', 10);
  const placed = await shop.order({ buyerId: 'anna', sku: 'book', quantity: 1 });
  expect((await shop.settled(placed.orderId)).status).toBe('CONFIRMED');
  const byXa = await shop.send('order', 'POST', '/orders/xa', { buyerId: 'anna', sku: 'book', quantity: 1 });
  expect(byXa.status).toBe(201);
  await until('redis is not missed', async () => {
    const { body } = await call(`${order!.url}/health/ready`);
    return (body as { degraded: string[] }).degraded.length === 0;
  });
  expect(order!.log()).not.toContain(PASSWORD);
});

test('an app with a malformed URL ends at start with one line that names the URL and shows no password', async () => {
  const secret = 's3cr3t';
  const wrong = `amqp://dtx:1#${secret}@127.0.0.1/shop`;
  const order = AppProcess.spawn('order', { sandbox, env: { DTX_RABBITMQ_URL: wrong } });
  await until('it has ended', () => order.exited);
  expect(order.log()).toMatch(/DTX_RABBITMQ_URL is wrong: must be a URL like [^\n]+percent-encoded/);
  expect(order.log()).not.toContain(secret);
});
