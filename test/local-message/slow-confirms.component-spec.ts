import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import { LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { until } from '../fixtures/until.js';

/** Longer than the lease of a claimed row, which is `leaseMs` and one second. */
const CONFIRM_MS = 3_000;
const library = libraryOf();
const contract = library.defineMessage({
  name: 'test.slow-confirm',
  version: 1,
  schema: z.object({ gid: z.string() }),
  consumers: ['billing.slow-confirm'],
  gid: ({ gid }) => gid,
  receipts: false,
});
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await freshSandbox('slow_confirms', { audited: false });
});

/** The events of one name while the test runs. */
function eventsOf(name: string): Array<Record<string, unknown>> {
  const events: Array<Record<string, unknown>> = [];
  const keep = (event: unknown) => void events.push(event as Record<string, unknown>);
  subscribe(`nest-dtx:${name}`, keep);
  onTestFinished(() => void unsubscribe(`nest-dtx:${name}`, keep));
  return events;
}

test('a message without receipts is done at its confirm, also when its lease is over by then', async () => {
  const [settled, published] = [eventsOf('settled'), eventsOf('published')];
  const proxy = await TcpProxy.start(sandbox.rabbitmq);
  onTestFinished(() => proxy.close());
  const services: LittleService[] = [];
  onTestFinished(() => Promise.all(services.map((service) => service.close())).then(() => {}));
  for (let n = 0; n < 2; n++) {
    const slow = { ...sandbox, rabbitmq: proxy.url };
    services.push(await LittleService.start({ sandbox: slow, library, core: { leaseMs: 300, scanIntervalMs: 50 } }));
  }
  const [service] = services as [LittleService];
  const append = (gid: string) =>
    service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, contract, { gid }));
  const stateOf = async (id: string) =>
    (await sql<{ state: string }>(sandbox, 'payment', 'SELECT state FROM dtx_outbox WHERE id = ?', [id]))[0]!.state;
  const first = await append('declares-the-queue');
  await until('the first one is done', async () => (await stateOf(first)) === 'DONE');
  const before = published.length;
  proxy.delay(CONFIRM_MS / 2);
  const id = await append('slow');
  await until('it is done', async () => (await stateOf(id)) === 'DONE');
  await until('the copy of the other instance is confirmed', () => published.length >= before + 2);
  proxy.delay(0);
  for (const one of services.splice(0)) await one.close(); // writes the marks
  expect(settled.filter((event) => event.id === id)).toHaveLength(1);
});
