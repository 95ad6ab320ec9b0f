import { afterAll, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { TcpProxy } from '../../fixtures/tcp-proxy.js';
import { type Answer, Stack } from '../../fixtures/three-apps.js';
import { until } from '../../fixtures/until.js';

/** Two proxies before one broker are the nodes of a cluster. A checkout in flight may end later, by its deadline. */
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

interface Call {
  /** Time in milliseconds from the first call to the start of this one. */
  readonly atMs: number;
  readonly status: number;
}

/**
 * Begins a checkout every 50 ms, whether the earlier ones are answered or not, until `isOver`. Then waits for all answers.
 */
async function checkOutUntil(isOver: (answered: readonly Call[]) => boolean): Promise<Call[]> {
  const since = performance.now();
  const answered: Call[] = [];
  const running: Array<Promise<void>> = [];
  const begin = () => {
    const atMs = performance.now() - since;
    running.push(checkOut().then(({ status }) => void answered.push({ atMs, status })));
    return isOver(answered);
  };
  await until('the checkouts go on', begin, { everyMs: 50 });
  await Promise.all(running);
  return answered.toSorted((a, b) => a.atMs - b.atMs);
}

const confirmed = (calls: readonly Call[]) => calls.filter(({ status }) => status === CONFIRMED);
const isConfirmed = (calls: readonly Call[]) => confirmed(calls).length >= 20;

test('checkouts go on after the loss of a node, are refused without any node, and go on with one that is back', async () => {
  await checkOutUntil(isConfirmed);
  const [lost, other] = nodes.toSorted((a, b) => b.open() - a.open()) as [TcpProxy, TcpProxy];
  expect(lost.open()).toBeGreaterThan(0);
  lost.cut();
  const calls = await checkOutUntil(isConfirmed);
  const refused = calls.filter(({ status }) => status === 503);
  expect(Math.max(0, ...refused.map(({ atMs }) => atMs))).toBeLessThan(OUTAGE_MAX_MS);
  expect(confirmed(calls)[0]!.atMs).toBeLessThan(OUTAGE_MAX_MS);
  // Control: these checkouts need the broker.
  other.cut();
  await checkOutUntil((answered) => answered.some(({ status }) => status === 503));
  lost.heal();
  await checkOutUntil(isConfirmed);
  for (const instance of shop.instances)
    expect(instance.log()).toContain('lost the connection to RabbitMQ, reconnecting: 127.0.0.1:');
});
