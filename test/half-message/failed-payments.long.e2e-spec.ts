import { afterAll, beforeAll, expect, test } from 'vitest';
import { SHORT_TIMES } from '../crash-matrix/short-times.js';
import { deleteQueue, messagesIn } from '../fixtures/broker-queues.js';
import { Operator } from '../fixtures/operator.js';
import { propertiesOf, TestPublisher } from '../fixtures/outbox-message-copies.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import type { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { RestartedInventory } from './restarted-inventory.js';
import { BOOK, sold, takes } from './sale-and-verdict.js';

let sandbox: Sandbox;
let shop: Stack;
let inventory: RestartedInventory;

beforeAll(async () => {
  sandbox = await freshSandbox('half_failed_payments');
  inventory = await RestartedInventory.open(sandbox);
  shop = inventory.shop;
});

afterAll(() => inventory?.close());

test('a decline that overtakes its sale cancels the order and restores the stock', async () => {
  const app = await inventory.restart({});
  await shop.of('order').stop();
  const orderId = await sold(app, 'overtaken', { ...BOOK, buyerId: 'a stranger' });
  await until('the stock is back', async () => (await takes(sandbox, orderId))[0]?.state === 'RETURNED');
  // The sale is taken out of the order app's queue, and given back when the decline has been handled.
  const queue = 'dtx.order.record-flash-sale.v1';
  await until('the sale waits', async () => (await messagesIn(sandbox, queue)) === 1);
  const [row] = await sql<{ id: string; payload: string }>(
    sandbox,
    'inventory',
    'SELECT * FROM dtx_half WHERE gid = ?',
    [orderId],
  );
  await deleteQueue(sandbox, queue);
  await shop.start(['order']);
  expect(await shop.settled(orderId)).toMatchObject({ status: 'CANCELLED', reason: 'UNKNOWN_BUYER' });
  const publisher = await TestPublisher.open(sandbox);
  const sale = { id: row!.id, gid: orderId, contract: 'flash.sold', version: 1, sender: 'inventory' } as const;
  const properties = { ...propertiesOf(sale), headers: { 'dtx-scheme': 'half-message' } };
  delete properties.replyTo;
  await publisher.send(queue, Buffer.from(row!.payload), properties);
  await publisher.close();
  const handled = `SELECT state FROM dtx_inbox WHERE gid = ? AND consumer = 'order.record-flash-sale'`;
  await until('the sale is heard of', async () => (await sql(sandbox, 'order', handled, [orderId])).length === 1);
  expect((await shop.get('order', `/orders/${orderId}`)).body).toMatchObject({ status: 'CANCELLED' });
});

test('a sale whose payment keeps failing is parked with one alert, and its rejection by an operator undoes stock and order', async () => {
  const app = await inventory.restart({});
  await shop.of('payment').stop();
  const once = { ...SHORT_TIMES, core: { ...SHORT_TIMES.core, inbox: { attemptsMax: 2, backoff: { firstMs: 100 } } } };
  await shop.start(['payment'], { options: once });
  await sql(sandbox, 'payment', 'RENAME TABLE account TO account_away');
  const orderId = await sold(app, 'broken');
  const operator = new Operator(shop, 'payment');
  const { id } = await operator.parkedOf(orderId);
  await sql(sandbox, 'payment', 'RENAME TABLE account_away TO account');
  expect(await operator.alertsOf(id)).toMatchObject([{ closedAt: null }]);
  expect((await operator.resolve(id, 'reject')).status).toBe(200);
  expect(await shop.settled(orderId)).toMatchObject({ status: 'CANCELLED', reason: 'TIMEOUT' });
  await until('the stock is back', async () => (await takes(sandbox, orderId))[0]?.state === 'RETURNED');
});
