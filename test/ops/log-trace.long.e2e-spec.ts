import { afterAll, beforeAll, expect, test } from 'vitest';
import { logLines } from '../fixtures/app-logs.js';
import { notifyingShop } from '../fixtures/notifying-shop.js';
import { Operator } from '../fixtures/operator.js';
import { untilSettled } from '../fixtures/purchase-checks.js';
import { freshSandbox } from '../fixtures/sandbox.js';
import { APPS, call, type Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
let shop: Stack;

beforeAll(async () => {
  shop = await notifyingShop(await freshSandbox('log_trace'), { options: { core: { scanIntervalMs: 100 } } });
  await shop.stock('book', 100);
});

afterAll(async () => {
  if (shop) await Operator.closeEverything(shop);
  await shop?.stop();
});

test('each log line of a purchase has its gid and its trace in every app', async () => {
  const traceparent = `00-${TRACE}-b7ad6b7169203331-01`;
  // The merchant cannot be reached by name: the notification service says so, in its own trace.
  const body = { buyerId: 'nobody', sku: 'book', quantity: 1 };
  await call(`${shop.of('order').url}/orders`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', traceparent },
    body: JSON.stringify({ ...body, notifyUrl: 'http://10.0.0.1/never' }),
  });
  const line = await until('it has given up, and is in the log', () =>
    logLines(shop.of('payment')).find(({ message }) => message.startsWith('PARKED notify')),
  );
  expect(line).toMatchObject({ gid: expect.any(String), traceId: TRACE });
  for (const app of APPS) expect(shop.of(app).exited).toBe(false);
  await untilSettled(shop);
});
