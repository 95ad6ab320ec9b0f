import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NOTIFY_SECRET, NOTIFY_TIMES } from '../fixtures/notifying-shop.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const TARGETS = 50;
/** 10,000 in all with `npm run test:all`. The short suite shows the same with fewer. */
const EACH = process.env.DTX_TEST_ALL ? 200 : 40;
/** Longer than the test: the dead target's first call never ends. */
const CALL_TIMEOUT_MS = 600_000;
/** Generous: on an idle machine all are delivered within seconds. */
const DRAIN_MS_MAX = 240_000;
let sandbox: Sandbox;
let shop: Stack;
let merchant: { server: Server; port: number; calls: { live: number; dead: number } };

beforeAll(async () => {
  sandbox = await freshSandbox('notify_drain', { audited: false });
  merchant = await startMerchant();
  const env = { DTX_NOTIFY_SECRET: NOTIFY_SECRET, DTX_NOTIFY_ALLOW: '127.0.0.0/8' };
  // Fewer calls at once than the dead target has notifications. Without shares its calls would take every place for longer
  // than the test lasts.
  const notify = { ...NOTIFY_TIMES, callTimeoutMs: CALL_TIMEOUT_MS, ladderMs: [600_000], concurrencyMax: 16 };
  shop = new Stack(sandbox, { env, options: { core: { scanIntervalMs: 50 }, notify } });
  await shop.start(['payment']);
});

afterAll(async () => {
  merchant?.server.closeAllConnections();
  merchant?.server.close();
  await shop?.stop();
});

/** Every address of the loopback network is a target. The last one accepts calls and never answers. */
async function startMerchant(): Promise<typeof merchant> {
  const calls = { live: 0, dead: 0 };
  const server = createServer((request, response) => {
    if (request.headers.host!.startsWith(`127.0.0.${TARGETS}:`)) return void calls.dead++;
    calls.live++;
    request.resume().once('end', () => response.writeHead(204).end());
  });
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
  return { server, port: (server.address() as AddressInfo).port, calls };
}

/** Puts due notifications into the table. Those of the dead target are due first. */
async function leave(): Promise<void> {
  const rows = Array.from({ length: TARGETS * EACH }, (_, n) => {
    const number = TARGETS - Math.floor(n / EACH);
    const host = `127.0.0.${number}:${merchant.port}`;
    const due = `20${number === TARGETS ? 19 : 20}-01-01 00:00:00`;
    return [`drain.${String(n).padStart(6, '0')}`, 'test', `http://${host}/`, host, '{}', 'PENDING', due];
  });
  const values = rows.map(() => `(?, ?, ?, ?, ?, ?, ?, '2020-01-01 00:00:00')`);
  const columns = 'id, type, target, target_host, body, state, next_attempt_at, created_at';
  await sql(sandbox, 'payment', `INSERT INTO dtx_notification (${columns}) VALUES ${values.join(', ')}`, rows.flat());
}

test(`${TARGETS - 1} live targets get all their notifications while a dead target keeps one call open`, async () => {
  await leave();
  const told = (TARGETS - 1) * EACH;
  await until(`${told} are told`, () => merchant.calls.live >= told, { withinMs: DRAIN_MS_MAX });
  expect(merchant.calls.dead).toBe(1);
  const left = `SELECT COUNT(*) AS n FROM dtx_notification WHERE state = 'PENDING'`;
  await until(
    'only those of the dead target are left',
    async () => Number((await sql<{ n: number }>(sandbox, 'payment', left))[0]!.n) === EACH,
  );
}, 300_000);
