/** What other apps publish is never lost, whatever the notification service lacks: a secret, or a default target. */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type * as Dtx from '../../libs/dtx/src/index.js';
import { LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const SECRET = `whsec_${Buffer.alloc(24, 7).toString('base64')}`;
const ADMIN_TOKEN = 'the token of the operators';
const library = libraryOf();
let sandbox: Sandbox;
let merchant: Server;
let calls: IncomingMessage[] = [];
let services: LittleService[] = [];

beforeAll(async () => {
  merchant = createServer((request, response) => {
    calls.push(request);
    request.resume().on('end', () => response.end());
  });
  await new Promise<void>((resolve) => merchant.listen(0, '127.0.0.1', resolve));
});
afterAll(() => new Promise((resolve) => merchant.close(resolve)));
beforeEach(async () => {
  sandbox = await freshSandbox('notify_service_lacks', { audited: false });
  calls = [];
});
afterEach(async () => {
  await Promise.all(services.map((service) => service.close()));
  services = [];
});

const target = () => `http://127.0.0.1:${(merchant.address() as AddressInfo).port}/`;
const rows = () =>
  sql<{ id: string; state: string; last_error: string | null }>(
    sandbox,
    'payment',
    'SELECT id, state, last_error FROM dtx_notification ORDER BY id',
  );

async function start(
  app: 'payment' | 'order',
  notify: NonNullable<Parameters<typeof LittleService.start>[0]['imports']>[number],
) {
  const imports = [notify, library.OpsModule.forRoot({ adminToken: ADMIN_TOKEN })];
  const service = await LittleService.start({ sandbox, library, app, imports });
  services.push(service);
  return service;
}

const startService = (options: Partial<Dtx.NotifyOptionsInput>) =>
  start('payment', library.NotifyModule.forService({ service: 'payment', allow: ['127.0.0.0/8'], ...options }));
const startPublisher = () => start('order', library.NotifyModule.forPublisher({ service: 'payment' }));

const publish = (service: LittleService, id: string, to?: string) =>
  service
    .get(library.Notifications)
    .publish({ id, gid: id, type: 'payment.captured', at: new Date(), target: to, data: { id } });

test('an app without secrets publishes, and the service signs', async () => {
  await startService({ secrets: [SECRET] });
  await publish(await startPublisher(), 'from-another-app', target());
  await until('the merchant is called', () => calls.length === 1);
  expect(calls[0]!.headers).toMatchObject({ 'webhook-signature': expect.stringMatching(/^v1,/) });
});

test('a service without a secret calls no target, and a start with one delivers the waiting event', async () => {
  const without = await startService({ secrets: [] });
  await publish(await startPublisher(), 'it-waits', target());
  await until('the event is recorded', async () => (await rows()).length === 1);
  await without.close();
  expect(await rows()).toMatchObject([{ id: 'it-waits', state: 'PENDING' }]);
  expect(calls).toHaveLength(0);
  await startService({ secrets: [SECRET] });
  await until('it is delivered', async () => (await rows())[0]!.state === 'DELIVERED');
  expect(calls[0]!.headers).toMatchObject({
    'webhook-id': 'it-waits',
    'webhook-signature': expect.stringMatching(/^v1,/),
  });
});

test('an event for a default target that is missing is parked, and a retry goes to the one that is set later', async () => {
  const without = await startService({ secrets: [SECRET] });
  await publish(await startPublisher(), 'no-target');
  await until('the event is parked', async () => (await rows())[0]?.state === 'PARKED');
  expect((await rows())[0]!.last_error).toMatch(/names a target; set it, then retry/);
  const alerts = await sql<{ step: string }>(sandbox, 'payment', 'SELECT step FROM dtx_alert');
  expect(alerts).toHaveLength(1);
  await without.close();
  const service = await startService({ secrets: [SECRET], defaultTarget: target() });
  await service.app.listen(0, '127.0.0.1');
  const url = `${await service.app.getUrl()}/dtx/transactions/no-target/retry`;
  const retried = await fetch(url, { method: 'POST', headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
  expect(retried.status).toBeLessThan(300);
  await until('it is delivered', async () => (await rows())[0]!.state === 'DELIVERED');
  expect(calls).toHaveLength(1);
});

test('a service that means to have no default target drops an event without one', async () => {
  await startService({ secrets: [SECRET], withoutTarget: 'drop' });
  const publisher = await startPublisher();
  await publish(publisher, 'dropped');
  await publish(publisher, 'behind-it', target());
  await until('the one behind it is delivered', () => calls.length === 1);
  expect((await rows()).map(({ id }) => id)).toEqual(['behind-it']);
});
