import { afterAll, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { TcpProxy } from '../../fixtures/tcp-proxy.js';
import { type Answer, Stack } from '../../fixtures/three-apps.js';
import { until } from '../../fixtures/until.js';

/** Two proxies before one broker are the nodes of a cluster. */
const OUTAGE_MAX_MS = 2_500;
let sandbox: Sandbox;
let shop: Stack;
let nodes: TcpProxy[];

beforeAll(async () => {
  sandbox = await freshSandbox('lost_broker_node');
  nodes = [await TcpProxy.start(sandbox.rabbitmq), await TcpProxy.start(sandbox.rabbitmq)];
  const urls = nodes.map(({ url }) => url).join();
  shop = new Stack(sandbox, { env: { DTX_RABBITMQ_URL: urls } });
  await shop.start();
  await shop.account('alice', 100_000_000);
  await shop.stock('book', 10_000);
});

afterAll(async () => {
  await shop?.stop();
  for (const node of nodes ?? []) await node.close();
});

const checkOut = (): Promise<Answer> =>
  shop.send('payment', 'POST', '/checkouts', { buyerId: 'alice', sku: 'book', quantity: 1 });
const CONFIRMED = 201;

/** Checks out one after another until `count` in a row are confirmed. Returns the time from `since` to the first of them. */
async function confirmedAgainAfter(since: number, count = 10): Promise<number> {
  let first = 0;
  let inRow = 0;
  await until('checkouts are confirmed again', async () => {
    const { status } = await checkOut();
    inRow = status === CONFIRMED ? inRow + 1 : 0;
    if (inRow === 1) first = performance.now() - since;
    return inRow === count;
  });
  return first;
}

test('checkouts go on after the loss of a node, are refused without any node, and go on with one that is back', async () => {
  await confirmedAgainAfter(performance.now());
  const [lost, other] = nodes.toSorted((a, b) => b.open() - a.open()) as [TcpProxy, TcpProxy];
  expect(lost.open()).toBeGreaterThan(0);
  const since = performance.now();
  lost.cut();
  const outageMs = await confirmedAgainAfter(since);
  expect(outageMs).toBeLessThan(OUTAGE_MAX_MS);
  // Control: these checkouts need the broker.
  other.cut();
  await until('a checkout is refused', async () => (await checkOut()).status === 503);
  lost.heal();
  await confirmedAgainAfter(performance.now());
  expect(other.open()).toBe(0);
  for (const { log } of shop.instances.map((instance) => ({ log: instance.log() })))
    expect(log).toContain('lost the connection to RabbitMQ, reconnecting: 127.0.0.1:');
});
