import { expect, it } from 'vitest';
import { BrokerNodes } from './broker-nodes.js';

const BACKOFF = { firstMs: 200, factor: 2, capMs: 5_000 };
const THREE = ['amqp://mq1', 'amqp://mq2', 'amqp://[2001:db8::7]:5673'];

/** Fails at `count` nodes in turn. Returns their names and the waits after them. */
function failures(nodes: BrokerNodes, count: number) {
  return Array.from({ length: count }, () => {
    const { name } = nodes.current;
    nodes.failed('ECONNREFUSED');
    return { name, waitMs: nodes.moveOn(BACKOFF) };
  });
}

it('asks every node once in a round, and the backoff grows with each full round', () => {
  const tries = failures(new BrokerNodes(THREE, () => 0.5), 9);
  const rounds = [tries.slice(0, 3), tries.slice(3, 6), tries.slice(6)];
  for (const round of rounds)
    expect(round.map(({ name }) => name).toSorted()).toEqual(['[2001:db8::7]:5673', 'mq1:5672', 'mq2:5672']);
  expect(tries.map(({ waitMs }) => waitMs)).toEqual([100, 100, 400, 100, 100, 800, 100, 100, 1_600]);
});

it('keeps the backoff of a single node', () => {
  const nodes = new BrokerNodes('amqp://mq1', () => 0.5);
  expect(nodes.moveOn(BACKOFF)).toBe(200);
  expect(failures(nodes, 3).map(({ waitMs }) => waitMs)).toEqual([400, 800, 1_600]);
});

it('begins at each node, and moves from a lost node to each of the others', () => {
  const ways = new Set<string>();
  for (let n = 0; n < 500; n++) {
    const nodes = new BrokerNodes(THREE);
    const first = nodes.current.name;
    nodes.connected();
    nodes.moveOn(BACKOFF);
    ways.add(`${first} ${nodes.current.name}`);
  }
  expect(ways.size).toBe(6);
});

it('spreads the clients of a lost node over the first wait', () => {
  const waits = Array.from({ length: 200 }, () => new BrokerNodes(THREE).moveOn(BACKOFF));
  expect(Math.max(...waits)).toBeLessThanOrEqual(200);
  expect(Math.max(...waits) - Math.min(...waits)).toBeGreaterThan(100);
});

it('limits the wait for a silent node in the first round only, and only with other nodes', () => {
  const nodes = new BrokerNodes(THREE);
  expect(nodes.connectLimitMs).toBe(3_000);
  failures(nodes, 3);
  expect(nodes.connectLimitMs).toBe(10_000);
  expect(new BrokerNodes('amqp://mq1').connectLimitMs).toBe(10_000);
});

it('asks to log each new reason of a node, and a known one every ten rounds', () => {
  const nodes = new BrokerNodes(['amqp://mq1', 'amqp://mq2']);
  const isLogged = Array.from({ length: 24 }, () => {
    const said = nodes.failed('ECONNREFUSED');
    nodes.moveOn(BACKOFF);
    return said;
  });
  const logged = isLogged.flatMap((said, n) => (said ? [n] : []));
  expect(logged).toEqual([0, 1, 20, 21]);
  expect(nodes.failed('ACCESS_REFUSED')).toBe(true);
});
