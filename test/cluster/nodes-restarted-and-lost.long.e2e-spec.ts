import { connect } from 'amqplib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  atNode,
  clusterSandbox,
  NODES,
  type NodeName,
  type RabbitmqCluster,
  startCluster,
  urlListOf,
} from '../fixtures/broker-cluster.js';
import { NOTIFY_QUEUE } from '../fixtures/notification-probe.js';
import { Target } from '../fixtures/notification-target.js';
import { NOTIFY_SECRET, notifyingShop } from '../fixtures/notifying-shop.js';
import { OpenLoopPurchases, untrueAnswers } from '../fixtures/open-loop-purchases.js';
import { expectAuditClean, untilSettled } from '../fixtures/purchase-checks.js';
import { openShop } from '../fixtures/purchase-load.js';
import { type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until, untilPassed } from '../fixtures/until.js';

const SETTLE_MS = 60_000;
const ISOLATED_MS = 14_000;
const TOLD = 5;

let cluster: RabbitmqCluster;
let shop: Stack;
let target: Target;

beforeAll(async () => {
  cluster = await startCluster('nodes_lost');
  target = await Target.start();
  shop = await shopOf(await clusterSandbox(cluster, 'nodes_lost', 'r1'), 'quorum');
}, 300_000);

afterAll(async () => {
  await shop?.stop();
  await target?.close();
  await cluster?.end();
});

const nodesOf = (sandbox: Sandbox) => ({
  DTX_RABBITMQ_URL: urlListOf(
    sandbox,
    NODES.map((name) => cluster.urls(name).rabbitmq),
  ),
});

async function shopOf(sandbox: Sandbox, queues: 'quorum' | 'classic'): Promise<Stack> {
  const opened = await notifyingShop(sandbox, { env: nodesOf(sandbox), options: { core: { queues } } });
  await openShop(opened);
  return opened;
}

const startLoad = (name: string, perSecond: number) =>
  new OpenLoopPurchases({ name, perSecond, urlOf: (app) => shop.of(app).url });

/** Every purchase of the load settles as it was answered. */
async function expectSettled(load: OpenLoopPurchases, at: NodeName): Promise<void> {
  const seenAt = new Stack(atNode(shop.sandbox, cluster, at));
  await untilSettled(seenAt, SETTLE_MS);
  expect(load.wrong).toEqual([]);
  expect(await untrueAnswers(shop.sandbox, load)).toEqual([]);
  await expectAuditClean(seenAt);
}

const answersOf = ({ answers, all }: OpenLoopPurchases) => {
  const longest = Math.max(...all.map(({ told }) => told!.ms));
  return `${all.length} purchases, longest ${Math.round(longest)} ms, answers ${JSON.stringify(answers)}`;
};

test('a rolling restart of the three nodes refuses no call but with 503 and Retry-After, and loses none', async () => {
  const load = startLoad('restart', 10);
  for (const name of NODES) {
    await cluster.stop(name);
    await cluster.start(name);
  }
  await load.stop();
  console.log(answersOf(load));
  expect(load.all.length).toBeGreaterThan(100);
  expect(Object.keys(load.answers).filter((answer) => !['201', '202', '503'].includes(answer))).toEqual([]);
  await expectSettled(load, 'r1');
}, 240_000);

test('purchases settle after a partition in which one node pauses, and every answer is true', async () => {
  const homes = [...(await cluster.homes(shop.sandbox.vhost, 'r1')).values()];
  const most = NODES.toSorted((a, b) => count(homes, b) - count(homes, a))[0]!;
  const other = NODES.find((name) => name !== most)!;
  const load = startLoad('partition', 5);
  await until('purchases are accepted', () => load.all.filter(({ told }) => told).length > 10);
  await cluster.isolate(most);
  const since = performance.now();
  await until('the node has paused itself', async () =>
    cluster.running(most).then(
      () => false,
      () => true,
    ),
  );
  await untilPassed(since, ISOLATED_MS);
  expect(await cluster.running(other)).toEqual(NODES.filter((name) => name !== most));
  await cluster.rejoin(most);
  await load.stop();
  console.log(`${count(homes, most)} of ${homes.length} queues were led by ${most}; ${answersOf(load)}`);
  await expectSettled(load, other);
}, 240_000);

const count = (homes: readonly NodeName[], name: NodeName) => homes.filter((one) => one === name).length;

/** A queue that an earlier version has declared as a classic queue, at one node. */
async function declareClassic(sandbox: Sandbox, queue: string): Promise<void> {
  const connection = await connect(sandbox.rabbitmq);
  await (await connection.createChannel()).assertQueue(queue, { durable: true });
  await connection.close();
}

/** Purchases by XA while the payment app is down. Their notifications wait in its queue. */
async function buyUntold(of: Stack, name: string): Promise<void> {
  await of.of('payment').stop();
  for (let n = 0; n < TOLD; n++) {
    const body = { buyerId: `buyer-${n}`, sku: 'item-0001', quantity: 1, notifyUrl: target.url(`/${name}`) };
    const { status } = await of.send('order', 'POST', '/orders/xa', body, { 'idempotency-key': `${name}-${n}` });
    expect(status).toBe(201);
  }
  await until(`${name}: all purchases are done`, async () => {
    const [row] = await sql<{ n: number }>(
      of.sandbox,
      'order',
      `SELECT COUNT(*) AS n FROM dtx_xa WHERE state <> 'DONE'`,
    );
    return Number(row!.n) === 0;
  });
}

const callsAt = (name: string) =>
  new Set(target.calls.filter(({ path }) => path === `/${name}`).map(({ id }) => id)).size;

test('every notification is delivered when the node of its queue is lost for good, and none with a classic queue', async () => {
  const lost: NodeName = 'r3';
  const sandbox = await clusterSandbox(cluster, 'nodes_lost_classic', lost);
  await declareClassic(sandbox, NOTIFY_QUEUE);
  const classic = await shopOf(atNode(sandbox, cluster, 'r1'), 'classic');
  try {
    expect((await cluster.homes(sandbox.vhost, 'r1')).get(NOTIFY_QUEUE)).toBe(lost);
    await Promise.all([buyUntold(shop, 'quorum'), buyUntold(classic, 'classic')]);
    await cluster.kill(lost);
    await cluster.forget(lost, { at: 'r1' });
    await Promise.all([shop, classic].map((one) => one.start(['payment'], { env: merchantEnv(one) })));
    await until('all are told', () => callsAt('quorum') === TOLD);
    // A later one arrives, so the earlier ones are not on the way.
    await buyUntold(classic, 'later');
    await classic.start(['payment'], { env: merchantEnv(classic) });
    await until('the later ones are told', () => callsAt('later') === TOLD);
    expect(callsAt('classic')).toBe(0);
    await untilSettled(new Stack(atNode(shop.sandbox, cluster, 'r1')));
  } finally {
    await classic.stop();
  }
}, 240_000);

/** The environment of a payment app beside an order app that runs. */
function merchantEnv(of: Stack): Record<string, string> {
  return {
    ...nodesOf(of.sandbox),
    DTX_NOTIFY_SECRET: NOTIFY_SECRET,
    DTX_NOTIFY_URL: new URL('/payment-results', of.of('order').url).href,
    DTX_NOTIFY_ALLOW: '127.0.0.0/8',
  };
}
