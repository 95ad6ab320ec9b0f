import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import {
  contractOf,
  controllerOf,
  LittleService,
  libraryOf,
  type ServiceOptions,
} from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

/** Instances of one service that differ, as old and new ones do while a deployment is under way: one database, one broker. */
const library = libraryOf();
const contract = contractOf(library, 'later');
const probe = contractOf(library, 'probe');
let sandbox: Sandbox;
const services: LittleService[] = [];
let gid = '';
let count = 0;

interface Row {
  readonly state: string;
  readonly attempts: number;
  readonly last_error: string | null;
}

beforeAll(async () => {
  sandbox = await freshSandbox('served', { audited: false });
});
beforeEach(() => {
  gid = `message-${++count}`;
});
afterEach(async () => {
  for (const service of services.splice(0)) await service.close();
});

async function start(methods: Parameters<typeof controllerOf>[0], core: ServiceOptions['core'] = {}) {
  const controllers = [controllerOf([...methods, [library.OnMessage(probe), failFirst()]])];
  const options = { scanIntervalMs: 20, leaseMs: 500, ...core };
  const service = await LittleService.start({ sandbox, library, controllers, core: options });
  services.push(service);
  return service;
}

function failFirst() {
  const seen = new Set<string>();
  return async (_: unknown, message: { gid: string }) => {
    if (seen.has(message.gid)) return;
    seen.add(message.gid);
    throw new Error('the first time');
  };
}

const append = (service: LittleService) =>
  service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, contract, { gid }));
const alerts = () =>
  sql<{ closed_at: Date | null }>(sandbox, 'payment', 'SELECT closed_at FROM dtx_alert WHERE gid = ?', [gid]);
const row = async () =>
  (await sql<Row>(sandbox, 'payment', 'SELECT state, attempts, last_error FROM dtx_inbox WHERE gid = ?', [gid]))[0];
const untilRow = (what: string, is: (one: Row) => boolean) =>
  until(what, async () => {
    const one = await row();
    return one && is(one) && one;
  });

test('a failed delivery is retried by an instance with its consumer and not parked by one without it', async () => {
  const api = await start([]);
  let tries = 0;
  const work = async () => {
    if (++tries < 4) throw new Error('not yet');
  };
  await start([[library.OnMessage(contract), work]]);
  await append(api);
  expect(await untilRow('it is over', ({ state }) => state !== 'RETRYING')).toMatchObject({ state: 'HANDLED' });
  expect([tries, await alerts()]).toEqual([4, []]);
});

test('a failed step before the ack is left to an instance that has the step', async () => {
  let isReady = false;
  const told: string[] = [];
  const tell = async (message: { gid: string }) => {
    if (!isReady) throw new Error('not yet');
    told.push(message.gid);
  };
  const inbox = { attemptsMax: 1_000 };
  const withStep = [
    [library.OnMessage(contract), async () => {}],
    [library.BeforeAck(contract), tell],
  ] as const;
  const first = await start(withStep, { inbox });
  await append(first);
  await untilRow('it waits for its step', ({ state }) => state === 'RETRYING');
  // The instance that has it goes away, and only old ones are left for a while.
  await services.pop()!.close();
  const old = await start([[library.OnMessage(contract), async () => {}]], { inbox });
  await old
    .get(library.Database)
    .own.query('UPDATE dtx_inbox SET next_attempt_at = UTC_TIMESTAMP(3) WHERE gid = ?', [gid]);
  await scanned(old);
  expect(await row()).toMatchObject({ state: 'RETRYING' });
  isReady = true;
  await start(withStep, { inbox });
  await untilRow('it is over', ({ state }) => state === 'HANDLED');
  expect(told).toEqual([gid]);
});

test('a delivery without a consumer in any instance is parked with one alert, and a retry handles it once a consumer runs', async () => {
  const failing = async () => {
    throw new Error('not yet');
  };
  const inbox = { attemptsMax: 1_000 };
  const last = await start([[library.OnMessage(contract), failing]], { inbox, absentMs: 1_000 });
  await append(last);
  await untilRow('it is held', ({ state }) => state === 'RETRYING');
  await services.pop()!.close();
  const others = [await start([], { absentMs: 1_000 }), await start([], { absentMs: 1_000 })];
  const { last_error } = await untilRow('it is given up', ({ state }) => state === 'PARKED');
  expect(last_error).toContain('no instance has served payment.later for test.later.v1');
  await scanned(others[0]!);
  expect(await alerts()).toHaveLength(1);
  await start([[library.OnMessage(contract), async () => {}]]);
  const { id } = (await sql<{ id: string }>(sandbox, 'payment', 'SELECT id FROM dtx_inbox WHERE gid = ?', [gid]))[0]!;
  for (const source of others[0]!.get(library.Operations).sources) await source.retry(id, { by: 'operator' });
  await untilRow('it is over', ({ state }) => state === 'HANDLED');
  await until('its alert is closed', async () => (await alerts()).every(({ closed_at }) => closed_at !== null));
  expect(await alerts()).toHaveLength(1);
});

/** The loops have passed all due rows: a delivery that was held after them is handled. */
async function scanned(service: LittleService): Promise<void> {
  const own = { gid: `probe-${++count}` };
  await service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, probe, own));
  const query = `SELECT state FROM dtx_inbox WHERE gid = ? AND state = 'HANDLED'`;
  await until('a probe is handled', async () => (await sql(sandbox, 'payment', query, [own.gid])).length > 0);
}
