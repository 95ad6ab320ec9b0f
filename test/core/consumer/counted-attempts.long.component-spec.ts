import { createConnection } from 'mysql2/promise';
import { DataSource, type EntityManager } from 'typeorm';
import { afterEach, beforeAll, expect, onTestFinished, test } from 'vitest';
import {
  contractOf,
  controllerOf,
  LittleService,
  libraryOf,
  type ServiceOptions,
} from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { TcpProxy } from '../../fixtures/tcp-proxy.js';
import { until } from '../../fixtures/until.js';

const library = libraryOf();
let sandbox: Sandbox;
const services: LittleService[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('edges', { audited: false });
  await sql(sandbox, 'payment', 'CREATE TABLE shelf (sku VARCHAR(8) PRIMARY KEY, taken INT NOT NULL) ENGINE=InnoDB');
  await sql(sandbox, 'payment', `INSERT INTO shelf VALUES ('book', 0)`);
});

afterEach(async () => {
  for (const service of services.splice(0)) await service.close();
});

type Methods = Parameters<typeof controllerOf>[0];

async function start(methods: Methods, options: Partial<ServiceOptions> = {}): Promise<LittleService> {
  const service = await LittleService.start({ sandbox, library, ...options, controllers: [controllerOf(methods)] });
  services.push(service);
  return service;
}

type Contract = ReturnType<typeof contractOf>;

const append = (contract: Contract, gids: readonly string[]) =>
  services[0]!.source.transaction(async (tx) => {
    for (const gid of gids) await services[0]!.get(library.LocalMessages).append(tx, contract, { gid });
  });

interface Row {
  readonly state: string;
  readonly attempts: number;
  readonly last_error: string | null;
}
const rowsOf = (contract: Contract) =>
  sql<Row>(sandbox, 'payment', 'SELECT state, attempts, last_error FROM dtx_inbox WHERE type = ?', [
    `${contract.name}.v1`,
  ]);
const areAll = async (contract: Contract, count: number, state: string) => {
  const rows = await rowsOf(contract);
  return rows.length === count && rows.every((row) => row.state === state) && rows;
};

test('a handler that meets a lock for longer than absentMs uses up its attempts and raises an alert', async () => {
  const contract = contractOf(library, 'locked-out');
  const take = (tx: EntityManager) => tx.query(`UPDATE shelf SET taken = taken + 1 WHERE sku = 'book'`);
  await start([[library.OnMessage(contract), take]], { core: { absentMs: 3_000, inbox: { attemptsMax: 3 } } });
  const holder = await createConnection({ uri: sandbox.databases.payment });
  onTestFinished(() => holder.end());
  await holder.query('START TRANSACTION');
  await holder.query('SELECT * FROM shelf FOR UPDATE');
  await append(contract, ['locked-out']);
  await until('it is held, and has no attempt', async () => (await rowsOf(contract))[0]?.attempts === 0);
  const rows = await until('it is parked', () => areAll(contract, 1, 'PARKED'), { withinMs: 60_000 });
  expect(rows[0]).toMatchObject({ attempts: 3, last_error: expect.stringMatching(/lock wait timeout/i) });
});

test('an unavailable second database of a handler counts as a failed attempt, and its consumer goes on', async () => {
  const contract = contractOf(library, 'elsewhere');
  const proxy = await TcpProxy.start(sandbox.databases.order);
  const other = await new DataSource({ type: 'mysql', url: proxy.url }).initialize();
  onTestFinished(async () => {
    await other.destroy();
    await proxy.close();
  });
  library.limitWaits(other, { acquireMs: 500 });
  const look = async (_: EntityManager, { gid }: { gid: string }) => {
    if (gid === 'elsewhere') await other.query('SELECT 1');
  };
  await start([[library.OnMessage(contract), look]], { core: { inbox: { attemptsMax: 3 } } });
  proxy.cut();
  await append(contract, ['elsewhere', 'here-1', 'here-2']);
  const rows = await until('it is parked', async () => {
    const all = await rowsOf(contract);
    return all.length === 3 && all.every(({ state }) => state !== 'RETRYING') && all;
  });
  expect(rows.map(({ state }) => state).sort()).toEqual(['HANDLED', 'HANDLED', 'PARKED']);
});
