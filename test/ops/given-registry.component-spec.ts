import { Counter, Registry } from 'prom-client';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { contractOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
let sandbox: Sandbox;
let service: LittleService;

beforeAll(async () => {
  sandbox = await freshSandbox('given_registry', { audited: false });
});
afterEach(() => service?.close());

const start = async (registry: Registry) => {
  const ops = library.OpsModule.forRoot({ registry, endpoints: [] });
  service = await LittleService.start({ sandbox, library, imports: [ops] });
};

test("metrics are in the registry of the app beside the app's own, are computed when it is read, and leave it at the stop", async () => {
  const registry = new Registry();
  new Counter({ name: 'orders_total', help: 'Orders', registers: [registry] }).inc(7);
  await start(registry);
  const contract = contractOf(library, 'unheard');
  await service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, contract, { gid: 'one' }));
  const text = await until('the row is counted', async () => {
    const read = await registry.metrics();
    return /dtx_open_rows\{scheme="local-message",source="dtx_outbox",state="\w+"\} 1\b/.test(read) && read;
  });
  expect(text).toMatch(/^orders_total 7$/m);
  expect(text).toMatch(/^dtx_started_total\{scheme="local-message"\} 1$/m);
  expect(text).toMatch(/^dtx_broker_up 1$/m);
  // The app collects the metrics of Node itself, if it wants them.
  expect(text).not.toContain('process_cpu_seconds_total');
  expect(service.get(library.Metrics).registry).toBe(registry);

  await service.close();
  expect(await registry.metrics()).not.toMatch(/dtx_/);
  await start(registry);
  expect(await registry.metrics()).toMatch(/^dtx_broker_up /m);
});

test('a wrong registry is refused with the name of the option', () => {
  expect(() => library.OpsModule.forRoot({ registry: {} as Registry, endpoints: [] })).toThrow(
    'ops.registry: expected a Registry of prom-client',
  );
});
