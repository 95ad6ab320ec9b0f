import { createServer, type Server } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NOTIFY_SECRET, NOTIFY_TIMES } from '../support/merchant.js';
import { Stack } from '../support/stack.js';
import { until } from '../support/until.js';
import { freshWorld, sql, type World } from '../support/world.js';

const TARGETS = 50;
/** 10,000 in all; fewer in the quick run, which shows the same. */
const EACH = process.env.DTX_TEST_ALL ? 200 : 40;
let world: World;
let shop: Stack;
let merchant: { server: Server; port: number; calls: number };

beforeAll(async () => {
  world = await freshWorld('notify_drain', { audited: false });
  merchant = await startMerchant();
  const env = { DTX_NOTIFY_SECRET: NOTIFY_SECRET, DTX_NOTIFY_ALLOW: '127.0.0.0/8' };
  // Fewer calls at once than the dead target has notifications: without lanes they would all be its.
  const notify = { ...NOTIFY_TIMES, callTimeoutMs: 10_000, ladderMs: [60_000], concurrencyMax: 16 };
  shop = new Stack(world, { env, options: { core: { scanIntervalMs: 50 }, notify } });
  await shop.start(['payment']);
});

afterAll(async () => {
  await shop?.stop();
  merchant?.server.closeAllConnections();
  merchant?.server.close();
});

/** Every address of this machine's loopback network is a target; the last one never answers. */
async function startMerchant(): Promise<typeof merchant> {
  const state = { calls: 0 };
  const server = createServer((request, response) => {
    if (request.headers.host!.startsWith(`127.0.0.${TARGETS}:`)) return;
    state.calls += 1;
    request.resume().once('end', () => response.writeHead(204).end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', 0, resolve));
  await new Promise<void>((resolve) => server.close(() => resolve()));
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
  const { port } = server.address() as { port: number };
  return Object.assign(state, { server, port });
}

/** Puts due notifications into the table, the dead target's first, and gives the time until the others are told. */
async function drain(round: string, targets: number): Promise<number> {
  const rows = Array.from({ length: targets * EACH }, (_, n) => {
    const target = `127.0.0.${targets - Math.floor(n / EACH)}:${merchant.port}`;
    const due = `20${targets - Math.floor(n / EACH) === TARGETS ? 19 : 20}-01-01 00:00:00`;
    return [`${round}.${String(n).padStart(6, '0')}`, 'test', `http://${target}/`, target, '{}', 'PENDING', due];
  });
  const expected = merchant.calls + Math.min(targets, TARGETS - 1) * EACH;
  const values = rows.map(() => `(?, ?, ?, ?, ?, ?, ?, '2020-01-01 00:00:00')`);
  const columns = 'id, type, target, target_host, body, state, next_attempt_at, created_at';
  const since = performance.now();
  await sql(world, 'payment', `INSERT INTO dtx_notification (${columns}) VALUES ${values.join(', ')}`, rows.flat());
  await until(`${expected} are told`, () => merchant.calls >= expected, { withinMs: 90_000, everyMs: 10 });
  return performance.now() - since;
}

test(`of ${TARGETS * EACH} due notifications, those of the ${TARGETS - 1} live targets drain as if the dead one were not there`, async () => {
  await drain('warm', 5);
  const without = await drain('without', TARGETS - 1);
  const withDead = await drain('with', TARGETS);
  console.log(`drained in ${Math.round(without)} ms without, in ${Math.round(withDead)} ms with a dead target`);
  expect(withDead).toBeLessThan(2 * without + 2_000);
  const left = `SELECT COUNT(*) AS n FROM dtx_notification WHERE state = 'PENDING'`;
  await until(
    'all others are marked',
    async () => Number((await sql<{ n: number }>(world, 'payment', left))[0]!.n) === EACH,
  );
});
