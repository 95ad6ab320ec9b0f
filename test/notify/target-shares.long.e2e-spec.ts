import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NOTIFY_SECRET, NOTIFY_TIMES } from '../fixtures/notifying-shop.js';
import { rowsRead } from '../fixtures/rows-read.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const DEAD_TARGETS = 40;
const ROWS_OF_FAST_TARGET = 800;
const CALL_TIMEOUT_MS = 8_000;
/** If each answer led to a new claim of all the rest, each row would be read more than a hundred times. */
const READS_PER_ROW_MAX = 40;
/** Calls to one dead target, in this and in the earlier tests of the file, if it never keeps a place for long. */
const DEAD_CALLS_MAX = 8;
let sandbox: Sandbox;
let shop: Stack;
let merchant: { server: Server; port: number; calls: Map<string, number> };

beforeAll(async () => {
  sandbox = await freshSandbox('notify_keys', { audited: false });
  merchant = await startMerchant();
  const env = { DTX_NOTIFY_SECRET: NOTIFY_SECRET, DTX_NOTIFY_ALLOW: '127.0.0.0/8' };
  // As many places as the defaults give, and a call that lasts far longer than what the tests wait for.
  const notify = { ...NOTIFY_TIMES, callTimeoutMs: CALL_TIMEOUT_MS, ladderMs: [600_000] };
  shop = new Stack(sandbox, { env, options: { core: { scanIntervalMs: 200 }, notify } });
  await shop.start(['payment']);
});

afterAll(async () => {
  await shop?.stop();
  merchant?.server.closeAllConnections();
  merchant?.server.close();
});

/** Each address of the loopback network is a target. Those below 127.0.0.100 accept a call and never answer it. */
async function startMerchant(): Promise<typeof merchant> {
  const calls = new Map<string, number>();
  const server = createServer((request, response) => {
    const host = request.headers.host!;
    calls.set(host, (calls.get(host) ?? 0) + 1);
    if (Number(host.split(':')[0]!.split('.')[3]) < 100) return;
    request.resume().once('end', () => response.writeHead(204).end());
  });
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
  return { server, port: (server.address() as AddressInfo).port, calls };
}

/** Due now, by the clock of the database. */
const NOW = null;

const hostOf = (n: number) => `127.0.0.${n}:${merchant.port}`;
const callsOf = (n: number) => merchant.calls.get(hostOf(n)) ?? 0;

/** Puts due notifications into the table, as a process that died has left them. */
async function leave(round: string, targets: readonly number[], each: number, due: string | null): Promise<void> {
  const rows = targets.flatMap((n) =>
    Array.from({ length: each }, (_, i) => [
      `${round}.${n}.${i}`,
      'test',
      `http://${hostOf(n)}/`,
      hostOf(n),
      '{}',
      'PENDING',
      '2020-01-01',
    ]),
  );
  const columns = 'id, type, target, target_host, body, state, created_at, next_attempt_at';
  const values = rows.map(() => '(?, COALESCE(?, UTC_TIMESTAMP(3)))').join(', ');
  const bound = rows.flatMap((row) => [row, due]);
  await sql(sandbox, 'payment', `INSERT INTO dtx_notification (${columns}) VALUES ${values}`, bound);
}

const open = async (host: string) =>
  Number(
    (
      await sql<{ n: number }>(
        sandbox,
        'payment',
        `SELECT COUNT(*) AS n FROM dtx_notification WHERE target_host = ? AND state = 'PENDING'`,
        [host],
      )
    )[0]!.n,
  );

test(`${ROWS_OF_FAST_TARGET} rows of one fast target are claimed about once each`, async () => {
  const reads = await rowsRead(sandbox, 'payment');
  await leave('fast', [110], ROWS_OF_FAST_TARGET, '2021-06-01');
  await until('the fast target has all its calls', () => callsOf(110) >= ROWS_OF_FAST_TARGET, { withinMs: 60_000 });
  await until('all is marked', async () => (await open(hostOf(110))) === 0);
  expect(callsOf(110)).toBe(ROWS_OF_FAST_TARGET);
  expect((await rowsRead(sandbox, 'payment')) - reads).toBeLessThan(READS_PER_ROW_MAX * ROWS_OF_FAST_TARGET);
});

test(`the backlog of ${DEAD_TARGETS} dead targets, due first, does not keep a live target from its calls`, async () => {
  const dead = Array.from({ length: DEAD_TARGETS }, (_, i) => i + 1);
  await leave('dead', dead, 30, '2020-01-01');
  await until('the dead targets are called', () => dead.every((n) => callsOf(n) > 0));
  await leave('live', [100, 101, 102], 10, NOW);
  const isTold = () => [100, 101, 102].every((n) => callsOf(n) >= 10);
  await until('the live targets are told', isTold);
  expect(Math.max(...dead.map(callsOf))).toBeLessThan(DEAD_CALLS_MAX);
});

test('targets without answers leave half of all places to targets that answer', async () => {
  const dead = Array.from({ length: DEAD_TARGETS }, (_, i) => i + 1);
  await until('each dead target has had its time limit', () => dead.every((n) => callsOf(n) >= 2));
  const before = dead.map(callsOf);
  await leave('again', [103], 200, NOW);
  await until('the live target has all its calls', () => callsOf(103) >= 200);
  const during = dead.map((n, i) => callsOf(n) - before[i]!);
  expect(Math.max(...during)).toBeLessThanOrEqual(2);
});
