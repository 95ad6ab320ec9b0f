import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { TcpProxy } from '../../fixtures/tcp-proxy.js';
import { call, Stack } from '../../fixtures/three-apps.js';

/** If each read waited until the restocks before it had given up, there would be one or two. */
const READS_MIN = 10;
const RESTOCKS = 40;
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await freshSandbox('silent_broker', { audited: false });
});

test('an app refuses restocks and goes on with reads while the broker is silent', async () => {
  const proxy = await TcpProxy.start(sandbox.rabbitmq);
  onTestFinished(() => proxy.close());
  const shop = new Stack(sandbox, { options: { core: { heartbeatSeconds: 600 } } });
  onTestFinished(() => shop.stop());
  const [inventory] = await shop.start(['inventory'], { env: { DTX_RABBITMQ_URL: proxy.url } });
  const sku = (n: number) => `item-${String(n + 1).padStart(4, '0')}`;
  await shop.stock('book', 7);
  for (let n = 0; n < RESTOCKS; n++) await shop.stock(sku(n), 1);
  const restock = (n: number) => shop.send('inventory', 'POST', '/restocks', { sku: sku(n), quantity: 1 });
  expect((await restock(0)).status).toBe(201);

  proxy.blackHole('both');
  let pending = RESTOCKS;
  const statuses: number[] = [];
  const restocks = Array.from({ length: RESTOCKS }, async (_, n) => {
    statuses.push((await restock(n)).status);
    pending--;
  });
  let reads = 0;
  while (pending > 0) {
    expect((await call(`${inventory!.url}/stock/book`)).body).toMatchObject({ available: 7 });
    reads++;
  }
  await Promise.all(restocks);
  expect(statuses).toEqual(statuses.map(() => 503));
  expect(reads).toBeGreaterThan(READS_MIN);
  // Nothing has happened: only the restock before the silence counts.
  const [sum] = await sql<{ n: number }>(
    sandbox,
    'inventory',
    `SELECT SUM(available) AS n FROM stock WHERE sku LIKE 'item-%'`,
  );
  expect(Number(sum!.n)).toBe(RESTOCKS + 1);
  // Nor is the end of the app held up: it is not cut short.
  await inventory!.stop();
  expect(inventory!.log()).not.toContain('not stopped after');
});
