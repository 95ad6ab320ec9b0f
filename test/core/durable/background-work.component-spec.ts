import { randomUUID } from 'node:crypto';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../fixtures/free-port.js';
import { leaveBehind } from '../../fixtures/left-behind-message.js';
import {
  contractOf,
  controllerOf,
  LittleService,
  libraryOf,
  type ServiceOptions,
} from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until, untilPassed } from '../../fixtures/until.js';
import { closeAll, moduleOf, startContext } from '../consumer/applications.js';

const library = libraryOf();
const contract = contractOf(library, 'worked');
const SCAN_MS = 20;
/** Long enough for many scans, if there were any. */
const MANY_SCANS_MS = 50 * SCAN_MS;
let sandbox: Sandbox;
const services: LittleService[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('background', { audited: false });
});
afterEach(async () => {
  for (const service of services.splice(0)) await service.close();
  await closeAll();
});

type Handle = (tx: unknown, message: { gid: string }) => Promise<unknown>;

async function start(core: ServiceOptions['core'], handle?: Handle): Promise<LittleService> {
  const controllers = handle ? [controllerOf([[library.OnMessage(contract), handle]])] : [];
  const service = await LittleService.start({
    sandbox,
    library,
    controllers,
    core: { scanIntervalMs: SCAN_MS, ...core },
  });
  services.push(service);
  return service;
}

const API = { relay: false, consumers: false };
const runOnce = (service: LittleService) => service.get(library.BackgroundWork).runOnce({ limitMs: 20_000 });

const leftBehind = () => leaveBehind(sandbox, { app: 'payment', contract: contract.name, consumer: 'payment.worked' });

const stateIn = async (table: 'dtx_outbox' | 'dtx_inbox', gid: string) =>
  (await sql<{ state: string }>(sandbox, 'payment', `SELECT state FROM ${table} WHERE gid = ?`, [gid]))[0]?.state;
const untilState = (table: 'dtx_outbox' | 'dtx_inbox', gid: string, state: string) =>
  until(`${gid} is ${state} in ${table}`, async () => (await stateIn(table, gid)) === state);

describe('an instance with relay: false', () => {
  test('leaves a due row until runOnce, and names no scan to readiness', async () => {
    const api = await start(API);
    const id = await leftBehind();
    await untilPassed(performance.now(), MANY_SCANS_MS);
    expect(await stateIn('dtx_outbox', id)).toBe('PENDING');
    expect(api.get(library.Database).scans.all).toEqual([]);
    const summary = await runOnce(api);
    expect(summary).toMatchObject({ worked: { dtx_outbox: 1 }, failed: {}, isComplete: true });
    expect(await stateIn('dtx_outbox', id)).toBe('SENT');
  });

  test('records the receipts that wait for it in runOnce', async () => {
    const api = await start(API);
    const id = await leftBehind();
    await runOnce(api);
    await start({ relay: false }, async () => {});
    await untilState('dtx_inbox', id, 'HANDLED');
    await until('the receipt is recorded', async () => {
      await runOnce(api);
      return (await stateIn('dtx_outbox', id)) === 'DONE';
    });
  });

  test('sends a message right after its commit', async () => {
    const api = await start(API);
    const gid = randomUUID();
    await api.source.transaction((tx) => api.get(library.LocalMessages).append(tx, contract, { gid }));
    await untilState('dtx_outbox', gid, 'SENT');
  });

  test('retries a failed delivery only in runOnce', async () => {
    let tries = 0;
    const gid = randomUUID();
    const service = await start({ relay: false, inbox: { attemptsMax: 1_000 } }, async (_, message) => {
      if (message.gid === gid && ++tries < 3) throw new Error('not yet');
    });
    await service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, contract, { gid }));
    await untilState('dtx_inbox', gid, 'RETRYING');
    await untilPassed(performance.now(), MANY_SCANS_MS);
    expect(tries).toBe(1);
    await until('the retry succeeds', async () => {
      await runOnce(service);
      return (await stateIn('dtx_inbox', gid)) === 'HANDLED';
    });
    expect(tries).toBe(3);
  });

  test('purges old rows in runOnce', async () => {
    const api = await start(API);
    const id = await leftBehind();
    const old = `created_at = UTC_TIMESTAMP(3) - INTERVAL 1 YEAR, done_at = UTC_TIMESTAMP(3) - INTERVAL 1 YEAR`;
    await sql(sandbox, 'payment', `UPDATE dtx_outbox SET state = 'DONE', next_attempt_at = NULL, ${old} WHERE id = ?`, [
      id,
    ]);
    expect(await runOnce(api)).toMatchObject({ worked: { purge: 1 }, isComplete: true });
    expect(await stateIn('dtx_outbox', id)).toBeUndefined();
  });

  test('leaves its work to an instance with the relay', async () => {
    const api = await start(API);
    const id = await leftBehind();
    await untilPassed(performance.now(), MANY_SCANS_MS);
    expect(await stateIn('dtx_outbox', id)).toBe('PENDING');
    await start({}, async () => {});
    await untilState('dtx_outbox', id, 'DONE');
    expect((await runOnce(api)).isComplete).toBe(true);
  });
});

describe('runOnce', () => {
  test('works beside continuous scans', async () => {
    const service = await start({}, async () => {});
    const id = await leftBehind();
    expect(await runOnce(service)).toMatchObject({ failed: {}, isComplete: true });
    await untilState('dtx_outbox', id, 'DONE');
  });

  test('fails if RabbitMQ is unavailable for limitMs', async () => {
    const rabbitmqUrl = `amqp://127.0.0.1:${await freePort()}`;
    const app = await startContext(moduleOf(sandbox, { core: { rabbitmqUrl, ...API } }));
    const work = app.get(library.BackgroundWork);
    await expect(work.runOnce({ limitMs: 1_000 })).rejects.toThrow(library.BrokerUnavailable);
  });
});
