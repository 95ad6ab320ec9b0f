import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createSandbox } from '../../tools/src/sandbox/sandbox.js';
import { logLines } from '../fixtures/app-logs.js';
import type { AppProcess } from '../fixtures/app-process.js';
import { expectProblem } from '../fixtures/expect-problem.js';
import { atGaleraNode, type GaleraCluster, type GaleraNode, lackOfGalera, startGalera } from '../fixtures/galera.js';
import { OpenLoopPurchases, untrueAnswers } from '../fixtures/open-loop-purchases.js';
import { expectAuditClean } from '../fixtures/purchase-checks.js';
import { openShop } from '../fixtures/purchase-load.js';
import { type Sandbox, servers, sql } from '../fixtures/sandbox.js';
import { APPS, call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { buy } from '../xa/xa-purchase.js';

/** Each app has one address, as without a balancer in front of the cluster. The order app has a second instance at `g2`. */
const NODE_OF = { order: 'g1', payment: 'g2', inventory: 'g3' } as const;
const SCHEMES = ['local-message', 'tcc', 'half-message'] as const;
const SHORT = { firstMs: 100, factor: 1, capMs: 100 };
/** An attempt that counts is soon a parked row. */
const OPTIONS = {
  // A node waits 5 s and more for a silent member before it answers a COMMIT. With the default of 5 s that silence may count.
  core: { statementTimeoutMs: 10_000, inbox: { attemptsMax: 4, backoff: SHORT } },
  tcc: { attemptsMax: 4, backoff: SHORT },
  xa: { acquireTimeoutMs: 200 },
};
const BODY = { buyerId: 'buyer-1', sku: 'item-0001', quantity: 1 };

let lack: string;
let cluster: GaleraCluster;
let sandbox: Sandbox;
let shop: Stack;
let first: AppProcess;
let second: AppProcess;

beforeAll(async () => {
  lack = await lackOfGalera();
  if (lack) return;
  cluster = await startGalera('outages');
  const { order, payment, inventory } = NODE_OF;
  const databases = { order: cluster.url(order), payment: cluster.url(payment), inventory: cluster.url(inventory) };
  sandbox = await createSandbox({ ...servers(), databases }, 'galera');
  shop = new Stack(sandbox, { options: OPTIONS });
  [first] = (await shop.start()) as [AppProcess];
  const env = { DTX_DATABASE_URL: atGaleraNode(sandbox.databases.order, cluster, 'g2') };
  [second] = (await shop.start(['order'], { env })) as [AppProcess];
  await openShop(shop);
}, 400_000);

afterAll(async () => {
  await shop?.stop();
  await cluster?.end();
});

beforeEach((context) => context.skip(lack !== '', lack));

const order = (at: AppProcess, key: string) =>
  call(`${at.url}/orders`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': key },
    body: JSON.stringify(BODY),
  });

const has = (at: AppProcess, text: string) => logLines(at).filter(({ message }) => message.startsWith(text)).length;

/** Runs `outage` while clients buy. Afterwards every purchase settles as it was answered, and no attempt was counted. */
async function underLoad(name: string, outage: () => Promise<unknown>): Promise<void> {
  const load = new OpenLoopPurchases({ name, perSecond: 4, schemes: SCHEMES, urlOf: (app) => shop.of(app).url });
  const told = () => load.all.filter((one) => one.told).length;
  await until('purchases are answered', () => told() > 10);
  await outage();
  const before = told();
  await until('purchases are answered again', () => told() > before + 10);
  await load.stop();
  for (const instance of shop.instances) await shop.untilReady(instance);
  console.log(`${name}: ${load.all.length} purchases, answers ${JSON.stringify(load.answers)}`);
  expect(load.wrong).toEqual([]);
  await expectAuditClean(shop);
  expect(await untrueAnswers(sandbox, load)).toEqual([]);
  expect(await counted()).toEqual([]);
}

/** Rows with a failed attempt or a final failure. The tables of messages count each send, also the first one. */
async function counted(): Promise<unknown[]> {
  const failed = `state = 'PARKED'`;
  const either = `${failed} OR attempts > 0`;
  const tables = { dtx_inbox: either, dtx_tcc: either, dtx_half: failed, dtx_outbox: failed };
  const all = APPS.flatMap((app) =>
    Object.entries(tables).map(([table, where]) =>
      sql(
        sandbox,
        app,
        `SELECT '${app} ${table}' AS place, id, state, attempts, last_error FROM ${table} WHERE ${where}`,
      )
        // Only the tables of its schemes exist in the database of an app.
        .catch((error) => (/doesn't exist/.test(String(error)) ? [] : Promise.reject(error))),
    ),
  );
  return (await Promise.all(all)).flat();
}

/** Readiness of an instance says no, with the words of its node. */
const untilUnready = (at: AppProcess, words: RegExp) =>
  until('readiness says no', async () => {
    const { status, body } = await call(`${at.url}/health/ready`);
    return status === 503 && words.test(String(body.detail));
  });

const NOT_PRIMARY = /takes no write: .*WSREP/;

test('branches of XA at Galera nodes are refused at start with a line, and POST /orders/xa is 503', async () => {
  for (const branch of ['payment', 'inventory']) {
    const line = await until(`the log says why ${branch} is refused`, () =>
      logLines(first).find(({ message }) => message.startsWith(`XA cannot use ${branch}`)),
    );
    expect([line.level, line.message]).toEqual(['error', expect.stringMatching(/refuses XA START: .*Galera/)]);
  }
  expectProblem(await buy(first.url, 'galera', BODY), 503);
  const { status, body } = await call(`${first.url}/health/ready`);
  expect(status).toBe(200);
  expect(body.reasons).toMatchObject({ 'xa payment': expect.stringMatching(/refuses XA START/) });
});

test('a node is killed under load and comes back, the instance at another node accepts orders meanwhile', async () => {
  await underLoad('killed', async () => {
    const paused = has(second, 'paused all consumers');
    await cluster.kill('g2');
    await untilUnready(second, /takes no write/);
    await until('its consumers are paused', () => has(second, 'paused all consumers') > paused);
    await until('an order is accepted', async () => (await order(first, 'while-killed')).status === 202);
    await cluster.start('g2');
  });
}, 300_000);

test('a node cut off from the majority answers 503 and consumes nothing, another instance goes on, and it heals by itself', async () => {
  await underLoad('isolated', async () => {
    const [paused, resumed] = [has(first, 'paused all consumers'), has(first, 'resumed all consumers')];
    await cluster.isolate('g1', true);
    try {
      await untilUnready(first, NOT_PRIMARY);
      expectProblem(await order(first, 'cut-off'), 503);
      await until('its consumers are paused', () => has(first, 'paused all consumers') > paused);
      await until('an order is accepted', async () => (await order(second, 'cut-off')).status === 202);
      const checkout = await shop.send('payment', 'POST', '/checkouts', BODY, { 'idempotency-key': 'cut-off' });
      expect(checkout.status).toBe(201);
    } finally {
      await cluster.isolate('g1', false);
    }
    await until('its consumers are resumed', () => has(first, 'resumed all consumers') > resumed);
  });
}, 300_000);

test('the majority is lost, the last node answers 503 until it is made primary, and everything settles', async () => {
  await underLoad('majority-lost', async () => {
    const lost: readonly GaleraNode[] = ['g2', 'g3'];
    await Promise.all(lost.map((node) => cluster.kill(node)));
    await untilUnready(first, NOT_PRIMARY);
    expectProblem(await order(first, 'without-majority'), 503);
    await cluster.makePrimary('g1');
    await until('an order is accepted', async () => (await order(first, 'without-majority')).status === 202);
    for (const node of lost) await cluster.start(node);
  });
}, 300_000);
