import type { Options } from 'amqplib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { clusterSandbox, NODES, type RabbitmqCluster, startCluster } from '../fixtures/broker-cluster.js';
import { measureQueue, quantile, type Speed } from '../fixtures/queue-speed.js';
import { freshSandbox } from '../fixtures/sandbox.js';

const ROUNDS = 5;
const KINDS: Record<string, Options.AssertQueue> = {
  classic: { durable: true },
  quorum: { durable: true, arguments: { 'x-queue-type': 'quorum' } },
};

const median = (values: readonly number[]) => quantile(values, 0.5);

let cluster: RabbitmqCluster;
let urls: Record<string, string>;

beforeAll(async () => {
  cluster = await startCluster('price');
  urls = {
    'one node': (await freshSandbox('price_one', { audited: false })).rabbitmq,
    'three nodes': (await clusterSandbox(cluster, 'price_three', NODES[0])).rabbitmq,
  };
}, 300_000);

afterAll(() => cluster?.end());

/** A measurement without a verdict: the figures stand on the page docs/beyond-one-machine.md. */
test('classic and quorum queues carry all messages on one node and on three, at a price that is printed', async () => {
  const speeds = new Map<string, Speed[]>();
  // In turn, so that other load on the machine meets all alike.
  for (let round = 0; round < ROUNDS; round++)
    for (const [place, url] of Object.entries(urls))
      for (const [kind, declaration] of Object.entries(KINDS)) {
        const of = `${kind}, ${place}`;
        const speed = await measureQueue(url, `price-${kind}-${round}`, declaration);
        speeds.set(of, [...(speeds.get(of) ?? []), speed]);
      }
  const rows = [...speeds].map(([of, measured]) => {
    const confirmMs = (q: number) => median(measured.map((one) => quantile(one.confirmMs, q))).toFixed(1);
    const perSecond = Math.round(median(measured.map((one) => one.messagesPerSecond))).toLocaleString('en');
    return `| ${of} | ${perSecond} | ${confirmMs(0.5)} | ${confirmMs(0.99)} |`;
  });
  const head = ['| queue | messages/s | confirm p50 ms | confirm p99 ms |', '| --- | --- | --- | --- |'];
  // Ready for the page.
  console.log([`medians of ${ROUNDS} interleaved rounds`, '', ...head, ...rows].join('\n'));
  expect(rows).toHaveLength(4);
}, 240_000);
