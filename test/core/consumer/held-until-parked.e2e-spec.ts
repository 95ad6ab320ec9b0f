import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { AppProcess } from '../../fixtures/app-process.js';
import { contractOf, controllerOf, libraryOf } from '../../fixtures/little-service.js';
import { QueueProbe } from '../../fixtures/queue-probe.js';
import { freshSandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { untilOver, useMessageInService } from './message-in-service.js';
import { inboxStateOf } from './outbox-inbox-alerts.js';

/** A consumer holds each message until it is handled or parked, and a parked one holds up no other. */
const library = libraryOf();
const message = useMessageInService('held_until_parked', library);
const { start } = message;

test('a step before the ack with an unknown outcome is retried and parked, and only an unavailable broker is waited for', async () => {
  const contract = contractOf(library, 'unknowing');
  const step = async ({ text }: { text?: string }) => {
    if (text === 'bad') throw new library.OutcomeUnknown('the answer was lost');
  };
  const controllers = [
    controllerOf([
      [library.OnMessage(contract), async () => {}],
      [library.BeforeAck(contract), step],
    ]),
  ];
  await start({ controllers, core: { prefetch: 2, inbox: { attemptsMax: 2 } } });
  const bad = [1, 2].map((n) => `${message.gid}-bad-${n}`);
  await message.service.source.transaction(async (tx) => {
    for (const one of bad)
      await message.service.get(library.LocalMessages).append(tx, contract, { gid: one, text: 'bad' });
  });
  for (const one of bad) await untilOver('it is parked', async () => (await message.inboxState(one)) === 'PARKED');
  await message.service.source.transaction((tx) =>
    message.service.get(library.LocalMessages).append(tx, contract, { gid: message.gid }),
  );
  await untilOver('the one behind them is handled', async () => (await message.inboxState()) === 'HANDLED');
});

test('a message that ends its process each time is parked with one alert, and the messages behind it are handled', async () => {
  const own = await freshSandbox('held_until_parked_crash', { audited: false });
  const options = { core: { leaseMs: 300, scanIntervalMs: 50, inbox: { attemptsMax: 3 } } };
  const probe = await QueueProbe.open(own);
  const poisoned = { sandbox: own, options, failpoints: 'local-message.inserted=crash' };
  const body = {
    orderId: message.gid,
    scheme: 'local-message',
    buyerId: 'alice',
    sku: 'book',
    quantity: 1,
    amount: 100,
  };
  const state = () => inboxStateOf(own, message.gid, 'inventory');
  let app = await AppProcess.start('inventory', poisoned);
  await probe.publish('dtx.inventory.take-stock.v1', JSON.stringify(body), {
    messageId: randomUUID(),
    type: 'order.placed.v1',
    correlationId: message.gid,
    headers: { 'dtx-scheme': 'local-message' },
  });
  let starts = 1;
  await until(
    'it is parked',
    async () => {
      if (app.exited) {
        app = AppProcess.spawn('inventory', poisoned);
        starts++;
      }
      return (await state().catch(() => undefined)) === 'PARKED';
    },
    { withinMs: 120_000 },
  );
  expect(starts).toBeLessThan(8);
  expect(await sql(own, 'inventory', 'SELECT gid FROM dtx_alert')).toEqual([{ gid: message.gid }]);
  await app.kill();
  await probe.close();
});
