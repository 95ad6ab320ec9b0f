import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { HostNetwork, lackOfNamespaces } from '../../tools/src/servers/host-network.js';
import {
  atNode,
  clusterSandbox,
  NODES,
  type NodeName,
  type RabbitmqCluster,
  startCluster,
  urlListOf,
} from '../fixtures/broker-cluster.js';
import { OpenLoopPurchases, untrueAnswers } from '../fixtures/open-loop-purchases.js';
import { expectAuditClean, untilSettled } from '../fixtures/purchase-checks.js';
import { openShop } from '../fixtures/purchase-load.js';
import { Stack } from '../fixtures/three-apps.js';
import { until, untilPassed } from '../fixtures/until.js';

/**
 * Each broker node has a host of its own, a network namespace. A cable is pulled: packets vanish, no connection is reset,
 * and neither the other nodes nor the apps reach the node. An app notices a silent connection after two missed heartbeats.
 */
const PULLED_MS = 14_000;
const PER_SECOND = 5;
const SETTLE_MS = 60_000;

const lack = lackOfNamespaces();
let network: HostNetwork<NodeName>;
let cluster: RabbitmqCluster;
let shop: Stack;

beforeAll(async () => {
  if (lack) {
    console.log(`skipped: ${lack}`);
    return;
  }
  network = HostNetwork.create(NODES);
  cluster = await startCluster('partition', network);
  const sandbox = await clusterSandbox(cluster, 'partition', 'r1');
  const nodes = NODES.map((name) => cluster.urls(name).rabbitmq);
  shop = new Stack(sandbox, { env: { DTX_RABBITMQ_URL: urlListOf(sandbox, nodes) } });
  await shop.start();
  await openShop(shop);
}, 400_000);

afterAll(async () => {
  await shop?.stop();
  await cluster?.end();
  network?.remove();
});

beforeEach((context) => context.skip(lack !== '', lack));

/** The node that leads most queues. */
async function mostLoaded(): Promise<NodeName> {
  const homes = [...(await cluster.homes(shop.sandbox.vhost, 'r1')).values()];
  const count = (name: NodeName) => homes.filter((one) => one === name).length;
  return NODES.toSorted((a, b) => count(b) - count(a))[0]!;
}

/** Asked on the host of the node itself. */
const isPaused = async (name: NodeName) => (await cluster.ctl(name, 'eval', 'rabbit:is_running().')).trim() === 'false';

test('purchases settle after the cable of a broker node was pulled for 14 s, and every answer is true', async () => {
  const pulled = await mostLoaded();
  const [other] = NODES.filter((name) => name !== pulled) as [NodeName];
  const load = new OpenLoopPurchases({ name: 'cable', perSecond: PER_SECOND, urlOf: (app) => shop.of(app).url });
  await until('purchases are answered', () => load.all.filter(({ told }) => told).length > 10);
  network.setLink(pulled, 'down');
  const since = performance.now();
  await until('the node has paused itself', () => isPaused(pulled));
  await untilPassed(since, PULLED_MS);
  const end = performance.now();
  expect(await cluster.running(other)).toEqual(NODES.filter((name) => name !== pulled));
  network.setLink(pulled, 'up');
  await cluster.untilBack(pulled);
  await load.stop();

  const during = load.all.filter((one) => one.since >= since && one.since < end);
  const answered = during.filter(({ since: begun, told }) => begun + told!.ms < end);
  const longest = Math.max(...load.all.map(({ told }) => told!.ms));
  console.log(
    `${pulled} pulled: ${answered.length} of ${during.length} purchases were answered meanwhile, ` +
      `longest ${Math.round(longest)} ms of ${load.all.length}, answers ${JSON.stringify(load.answers)}`,
  );
  expect(load.wrong).toEqual([]);
  expect(Object.keys(load.answers).filter((answer) => !['201', '202', '409', '503'].includes(answer))).toEqual([]);
  // Those that need no broker for their answer.
  const accepted = answered.filter(({ scheme }) => scheme === 'local-message' || scheme === 'xa');
  expect(accepted.length).toBeGreaterThan(PULLED_MS / 1_000);
  const seenAt = new Stack(atNode(shop.sandbox, cluster, other));
  await untilSettled(seenAt, SETTLE_MS);
  await expectAuditClean(seenAt);
  expect(await untrueAnswers(shop.sandbox, load)).toEqual([]);
}, 300_000);
