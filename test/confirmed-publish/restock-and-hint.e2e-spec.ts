import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SHORT_TIMES } from '../crash-matrix/short-times.js';
import { AppProcess } from '../fixtures/app-process.js';
import { expectProblem } from '../fixtures/expect-problem.js';
import { TestPublisher } from '../fixtures/outbox-message-copies.js';
import { expectAuditClean } from '../fixtures/purchase-checks.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { type Answer, call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const QUEUE = 'dtx.order.restock-hint.v1';
let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('restock');
  shop = new Stack(sandbox, { options: SHORT_TIMES });
  await shop.start();
  await Promise.all([shop.account('alice', 1_000_000), shop.stock('book', 5), shop.stock('phone', 5)]);
  // A sandbox without a purchase has nothing for the audit to check.
  await shop.settled((await shop.order({ buyerId: 'alice', sku: 'phone', quantity: 1 })).orderId);
});

afterAll(async () => {
  await expectAuditClean(shop);
  await shop.stop();
});

const restock = (body: object, key?: string): Promise<Answer> =>
  shop.send('inventory', 'POST', '/restocks', body, key ? { 'idempotency-key': key } : {});

async function hintOf(sku: string): Promise<number | undefined> {
  const [hint] = await sql<{ available: number }>(sandbox, 'order', 'SELECT available FROM stock_hint WHERE sku = ?', [
    sku,
  ]);
  return hint && Number(hint.available);
}

const untilHint = (sku: string, available: number) =>
  until(`the catalog shows ${available} of ${sku}`, async () => (await hintOf(sku)) === available);

/** A restock's message as inventory would publish it. */
async function tell(available: number, version: number, messageId: string): Promise<void> {
  const publisher = await TestPublisher.open(sandbox);
  await publisher.send(QUEUE, Buffer.from(JSON.stringify({ sku: 'mug', available, version })), {
    messageId,
    type: 'stock.restocked.v1',
    correlationId: `restock:mug:${version}`,
    headers: { 'dtx-scheme': 'reliable-message' },
  });
  await publisher.close();
}

describe('a restock', () => {
  test('a restock answers 201 with the new stock, and the catalog hears of it', async () => {
    const answer = await restock({ sku: 'book', quantity: 7 });
    expect([answer.status, answer.body]).toEqual([201, { sku: 'book', available: 12, reserved: 0, sold: 0 }]);
    await untilHint('book', 12);
  });

  test('a restock of a new sku creates its row', async () => {
    expect((await restock({ sku: 'item-0007', quantity: 3 })).body).toMatchObject({ available: 3 });
    await untilHint('item-0007', 3);
  });

  test('a restock repeated with its key adds nothing and answers as before', async () => {
    const first = await restock({ sku: 'item-0008', quantity: 3 }, 'once');
    const again = await restock({ sku: 'item-0008', quantity: 3 }, 'once');
    expect([again.status, again.body]).toEqual([201, first.body]);
    expect((await shop.get('inventory', '/stock/item-0008')).body).toMatchObject({ available: 3 });
    expectProblem(await restock({ sku: 'item-0008', quantity: 4 }, 'once'), 422);
  });

  test('a malformed restock answers 400, and one above the capacity answers 409', async () => {
    expectProblem(await restock({ sku: 'book', quantity: 0 }), 400, 'quantity');
    expectProblem(await restock({ sku: 'car', quantity: 1 }), 400, 'sku');
    expect(expectProblem(await restock({ sku: 'book', quantity: 1_000_000_000 }), 409)).toMatchObject({
      reason: 'SHELF_FULL',
    });
    expect((await shop.get('inventory', '/stock/book')).body).toMatchObject({ available: 12 });
  });

  test('a restock without a publisher confirm answers 503 and is rolled back', async () => {
    const proxy = await TcpProxy.start(sandbox.rabbitmq);
    const cut = await AppProcess.start('inventory', {
      sandbox,
      env: { DTX_RABBITMQ_URL: proxy.url },
      options: {
        ...SHORT_TIMES,
        core: { ...SHORT_TIMES.core, publishTimeoutMs: 300 },
        reliableMessage: { triesMax: 2 },
      },
    });
    shop.instances.push(cut);
    await shop.untilReady(cut);
    const ask = () =>
      call(`${cut.url}/restocks`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': 'cut' },
        body: JSON.stringify({ sku: 'item-0009', quantity: 5 }),
      });
    proxy.blackHole('to-client');
    expectProblem(await ask(), 503);
    expect((await shop.get('inventory', '/stock/item-0009')).status).toBe(404);
    proxy.heal();
    await until('the same key is served', async () => (await ask()).status === 201);
    expect((await shop.get('inventory', '/stock/item-0009')).body).toMatchObject({ available: 5 });
    await untilHint('item-0009', 5);
    await cut.stop();
    await proxy.close();
  });
});

describe('the hint', () => {
  test('a hint that arrives twice, late or after a rollback does not change the catalog wrongly', async () => {
    await tell(10, 5, 'a');
    await untilHint('mug', 10);
    await tell(7, 4, 'late');
    await tell(10, 5, 'a');
    await tell(99, 6, 'never-was');
    await untilHint('mug', 99);
    await tell(12, 6, 'true');
    await untilHint('mug', 12);
  });

  test('hints wait while Redis is unavailable, the app reports it, and none is lost', async () => {
    const proxy = await TcpProxy.start(sandbox.redis);
    await Promise.all(shop.instances.filter(({ app }) => app === 'order').map((one) => one.stop()));
    const order = await AppProcess.start('order', { sandbox, env: { DTX_REDIS_URL: proxy.url }, options: SHORT_TIMES });
    shop.instances.push(order);
    await shop.untilReady(order);
    proxy.cut();
    await restock({ sku: 'book', quantity: 1 });
    await until('it says so', async () => {
      const { body } = await call(`${order.url}/health/ready`);
      return (
        (body.degraded as string[]).includes('redis') && /waits, since Redis.* is unavailable: redis/i.test(order.log())
      );
    });
    expect(await hintOf('book')).toBe(12);
    proxy.heal();
    await untilHint('book', 13);
    await shop.untilReady(order);
    await order.stop();
    await proxy.close();
    await shop.start(['order']);
  });
});
