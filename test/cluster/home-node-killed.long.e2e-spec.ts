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
import { notifyingShop } from '../fixtures/notifying-shop.js';
import { OpenLoopPurchases, untrueAnswers } from '../fixtures/open-loop-purchases.js';
import { expectAuditClean, untilSettled } from '../fixtures/purchase-checks.js';
import { openShop } from '../fixtures/purchase-load.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { Stack } from '../fixtures/three-apps.js';
import { untilPassed } from '../fixtures/until.js';

/** The node that dies. It holds all queues, and all clients are connected to it: the worst case. */
const HOME = 'r1';
const SURVIVOR = 'r2';
/** Load before and after the death. */
const LOAD_MS = { before: 3_000, after: 14_000 };
const CLEAR_MS = 6_000;
const SETTLE_MS = 20_000;

let cluster: RabbitmqCluster;
let proxies: Record<NodeName, TcpProxy>;
let shop: Stack;
/** The control, with classic queues. */
let classicShop: Stack;
let load: OpenLoopPurchases;
let control: OpenLoopPurchases;
let killedAt: number;

beforeAll(async () => {
  cluster = await startCluster('home_killed');
  proxies = Object.fromEntries(
    await Promise.all(NODES.map(async (name) => [name, await TcpProxy.start(cluster.urls(name).rabbitmq)])),
  );
  for (const name of NODES) if (name !== HOME) proxies[name].cut();
  const [sandbox, controlSandbox] = await Promise.all([
    clusterSandbox(cluster, 'home_killed', HOME),
    clusterSandbox(cluster, 'home_killed_classic', HOME),
  ]);
  const nodes = (of: typeof sandbox) => ({
    DTX_RABBITMQ_URL: urlListOf(
      of,
      NODES.map((name) => proxies[name].url),
    ),
  });
  shop = await notifyingShop(sandbox, { env: nodes(sandbox), options: { core: { queues: 'quorum' } } });
  classicShop = new Stack(controlSandbox, { env: nodes(controlSandbox), options: { core: { queues: 'classic' } } });
  await classicShop.start();
  await Promise.all([openShop(shop), openShop(classicShop)]);
  for (const name of NODES) proxies[name].heal();
}, 300_000); // RabbitMQ may have to be installed

afterAll(async () => {
  await Promise.all([shop?.stop(), ...(classicShop?.instances.map((one) => one.kill()) ?? [])]);
  await cluster?.end();
  await Promise.all(Object.values(proxies ?? {}).map((proxy) => proxy.close()));
});

test('the node that holds all queues and all connections is killed under load', async () => {
  const homes = await cluster.homes(shop.sandbox.vhost, HOME);
  expect(homes.size).toBeGreaterThan(20);
  expect(new Set(homes.values())).toEqual(new Set([HOME]));
  const since = performance.now();
  load = new OpenLoopPurchases({ name: 'home', perSecond: 10, urlOf: (app) => shop.of(app).url });
  const schemes = ['tcc'] as const;
  control = new OpenLoopPurchases({ name: 'classic', perSecond: 2, schemes, urlOf: (app) => classicShop.of(app).url });
  await untilPassed(since, LOAD_MS.before);
  killedAt = performance.now();
  await cluster.kill(HOME);
  await untilPassed(killedAt, LOAD_MS.after);
  await load.stop();
  expect(await cluster.running(SURVIVOR)).toEqual(NODES.filter((name) => name !== HOME));
});

test('at least 95 % of the checkouts are confirmed or answered 503 with Retry-After within 6 s', () => {
  const checkouts = load.begun('tcc', { from: killedAt - CLEAR_MS / 2 });
  const good = checkouts.filter((one) => one.told?.status === 'CONFIRMED' && isPromptOrHonest(one));
  console.log(`${good.length} of ${checkouts.length} checkouts; answers ${JSON.stringify(load.answers)}`);
  expect(load.wrong).toEqual([]);
  expect(checkouts.length).toBeGreaterThan(25);
  expect(good.length / checkouts.length).toBeGreaterThanOrEqual(0.95);
});

const isPromptOrHonest = ({ told, tries }: OpenLoopPurchases['all'][number]) =>
  told!.ms <= CLEAR_MS || tries.some(({ answer, ms }) => answer === '503' && ms <= CLEAR_MS);

test('with classic queues no checkout is confirmed while their node is down', () => {
  const checkouts = control.begun('tcc', { from: killedAt, to: killedAt + LOAD_MS.after / 2 });
  expect(checkouts.length).toBeGreaterThan(5);
  expect(control.begun('tcc', { to: killedAt - 1_000 }).every(({ told }) => told?.status === 'CONFIRMED')).toBe(true);
  expect(checkouts.filter(({ told }) => told?.status === 'CONFIRMED')).toEqual([]);
});

test('all purchases settle, every answer is true, and no notification is lost', async () => {
  const seenAt = new Stack(atNode(shop.sandbox, cluster, SURVIVOR));
  await untilSettled(seenAt, SETTLE_MS);
  expect(await untrueAnswers(shop.sandbox, load)).toEqual([]);
  // The audit compares all payments with the notifications, and those with the results at the merchant.
  await expectAuditClean(seenAt);
  const longest = Math.max(...load.all.map(({ told }) => told!.ms));
  console.log(`${load.all.length} purchases, the longest was answered after ${Math.round(longest)} ms`);
});
