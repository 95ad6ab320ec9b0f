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

/** What a delivery costs where a bound ends: an attempt, none, a place, or the whole delivery. */
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

const append = (contract: Contract, gids: readonly string[], text?: string) =>
  services[0]!.source.transaction(async (tx) => {
    for (const gid of gids) await services[0]!.get(library.LocalMessages).append(tx, contract, { gid, text });
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
const gidsOf = (name: string, count: number) => Array.from({ length: count }, (_, n) => `${name}-${n}`);

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

test('a consumer with hanging handlers leaves connections to the other consumers', async () => {
  const [hanging, fine] = [contractOf(library, 'hangs'), contractOf(library, 'goes-on')];
  let letGo!: () => void;
  let begun = 0;
  const gate = new Promise<void>((open) => {
    letGo = open;
  });
  const hang = () => {
    begun++;
    return gate;
  };
  const controllers: Methods = [
    [library.OnMessage(hanging), hang],
    [library.OnMessage(fine), async () => {}],
  ];
  await start(controllers, { core: { workPoolSize: 4, prefetch: 16, handlerTimeoutMs: 60_000 } });
  await append(hanging, gidsOf('hangs', 12));
  await until('it has its share', () => begun === 2);
  await append(fine, gidsOf('goes-on', 8));
  await until('the others are handled', () => areAll(fine, 8, 'HANDLED'));
  expect([begun, await rowsOf(hanging)]).toEqual([2, []]);
  letGo();
  await until('then all are handled', () => areAll(hanging, 12, 'HANDLED'));
});

test('a step before the ack that outlasts its lease runs at one instance', async () => {
  const contract = contractOf(library, 'slow-step');
  const LONG_MS = 3_000;
  let calls = 0;
  const step = async () => {
    if (++calls === 1) throw new Error('the first time');
    await new Promise((resolve) => setTimeout(resolve, LONG_MS));
  };
  const methods: Methods = [
    [library.OnMessage(contract), async () => {}],
    [library.BeforeAck(contract), step],
  ];
  const core = { leaseMs: 500, scanIntervalMs: 50 };
  await start(methods, { core });
  await start(methods, { core });
  await append(contract, ['slow-step']);
  // The row is HANDLED between the commit of the business and the first failure, too.
  await until('the step runs again', () => calls > 1);
  await until('it is over', () => areAll(contract, 1, 'HANDLED'));
  expect(calls).toBe(2);
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

test('a large message that cannot be stored for a passing reason keeps its body', async () => {
  const contract = contractOf(library, 'keeps-body');
  const text = 'x'.repeat(700_000);
  const lengths: number[] = [];
  const measure = async (_: EntityManager, message: { text: string }) => {
    if (lengths.push(message.text.length) === 1) throw new Error('the first time');
  };
  const localMessage = { payloadMaxBytes: 1_000_000 };
  const service = await start([[library.OnMessage(contract), measure]], { core: { ownPoolSize: 1 }, localMessage });
  await append(contract, ['keeps-body'], text);
  // The session that would store it leads to a server that takes no writes, as after a switchover.
  await service.get(library.Database).own.query('SET SESSION TRANSACTION READ ONLY');
  await until('it is handled', () => areAll(contract, 1, 'HANDLED'));
  expect(lengths.length).toBeGreaterThan(1);
  expect(new Set(lengths)).toEqual(new Set([text.length]));
});
