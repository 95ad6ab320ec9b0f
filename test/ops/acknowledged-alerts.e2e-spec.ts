import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectProblem } from '../fixtures/expect-problem.js';
import { Operator } from '../fixtures/operator.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';

let sandbox: Sandbox;
let shop: Stack;
let probe: QueueProbe;

beforeAll(async () => {
  sandbox = await freshSandbox('alert_acknowledgement', { audited: false });
  shop = new Stack(sandbox);
  await shop.start(['inventory']);
  probe = await QueueProbe.open(sandbox);
});

afterAll(async () => {
  await probe?.close();
  await shop?.stop();
});

test('an open alert of a parked row stays open when it is acknowledged', async () => {
  const operator = new Operator(shop, 'inventory');
  const receipt = await probe.deliver('dtx.inventory.take-stock.v1', 'nonsense', {
    messageId: 'n',
    type: 'order.placed.v1',
  });
  const id = `${receipt.messageId}.inventory.take-stock`;
  const [alert] = await operator.alertsOf(id);
  const { body } = await operator.post(`/alerts/${alert!.id}/acknowledge`);
  expect(body).toMatchObject({ closesBy: 'retry', retry: `POST /dtx/transactions/${id}/retry`, closedAt: null });
  expectProblem(await operator.resolve(id, 'reject'), 409);
  expect((await operator.resolve(id, 'done')).status).toBe(200);
});
