import { afterAll, beforeAll, expect, test } from 'vitest';
import { LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
let sandbox: Sandbox;
let broker: TcpProxy;
let database: TcpProxy;
let service: LittleService;

beforeAll(async () => {
  sandbox = await freshSandbox('health_indicator', { audited: false });
  broker = await TcpProxy.start(sandbox.rabbitmq);
  database = await TcpProxy.start(sandbox.databases.payment);
  service = await LittleService.start({
    sandbox,
    library,
    url: database.url,
    core: { rabbitmqUrl: broker.url },
    imports: [library.OpsModule.forRoot({ endpoints: [], probeFreshMs: 50, probeLimitMs: 500 })],
  });
});

afterAll(async () => {
  await service?.close();
  await broker?.close();
  await database?.close();
});

test('the indicator is up with the degraded parts while the broker is cut off, and down while the database is', async () => {
  const indicator = service.get(library.DtxHealthIndicator);
  const healthy = await until('all consumers are attached', async () => {
    const health = await indicator.isHealthy('dtx');
    return health.dtx.status === 'up' && health.dtx.degraded.length === 0 && health;
  });
  expect(healthy).toEqual({ dtx: { status: 'up', degraded: [], reasons: {} } });

  broker.cut();
  const degraded = await until('the broker is missed', async () => {
    const { dtx } = await indicator.isHealthy('dtx');
    return dtx.status === 'up' && dtx.degraded.length > 0 && dtx;
  });
  expect(degraded).toEqual({ status: 'up', degraded: ['rabbitmq'], reasons: { rabbitmq: 'not connected' } });

  database.cut();
  const down = await until('the database is missed', async () => {
    const { dtx } = await indicator.isHealthy('dtx');
    return dtx.status === 'down' && dtx;
  });
  expect(down.message).toContain('the database of this app');
});
