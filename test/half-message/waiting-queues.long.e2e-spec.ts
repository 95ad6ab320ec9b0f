import { afterAll, beforeAll, expect, test } from 'vitest';
import { SHORT_TIMES } from '../crash-matrix/short-times.js';
import { AppProcess } from '../fixtures/app-process.js';
import { deleteQueue, messagesIn } from '../fixtures/broker-queues.js';
import { TestPublisher } from '../fixtures/outbox-message-copies.js';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import type { Stack } from '../fixtures/three-apps.js';
import { RestartedInventory } from './restarted-inventory.js';
import { sold } from './sale-and-verdict.js';

let sandbox: Sandbox;
let shop: Stack;
let inventory: RestartedInventory;

beforeAll(async () => {
  sandbox = await freshSandbox('half_waiting_queues');
  inventory = await RestartedInventory.open(sandbox);
  shop = inventory.shop;
});

afterAll(() => inventory?.close());

test('the next sale declares a waiting queue again that an operator has deleted', async () => {
  // A level long enough to be looked at.
  const app = await inventory.restart({ levelsMs: [10_000] });
  const queue = 'dtx.inventory.half-wait.10000ms.v1';
  await sold(app, 'before');
  await deleteQueue(sandbox, queue);
  const orderId = await sold(app, 'after');
  expect(await messagesIn(sandbox, queue)).toBe(1);
  expect((await shop.settled(orderId)).status).toBe('CONFIRMED');
});

test('an app does not start if the broker refuses its queues, and says why', async () => {
  const publisher = await TestPublisher.open(sandbox);
  await publisher.declare('dtx.inventory.half-wait.777ms.v1');
  const halfMessage = { ...SHORT_TIMES.halfMessage, levelsMs: [777] };
  const refused = AppProcess.spawn('inventory', { sandbox, options: { ...SHORT_TIMES, halfMessage } });
  await refused.untilExited();
  expect(refused.child.exitCode).toBe(1);
  expect(refused.log()).toMatch(
    /inventory: half messages need a broker .*RabbitMQ 3\.10.*half-wait\.777ms.*PRECONDITION/,
  );
  await publisher.close();
  await deleteQueue(sandbox, 'dtx.inventory.half-wait.777ms.v1');
});
