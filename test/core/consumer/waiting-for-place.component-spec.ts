import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until, untilPassed } from '../../fixtures/until.js';
import { storeDue } from './due-deliveries.js';

const LEASE_MS = 500;
/** A row of a consumer is leased for this much longer, since it may wait for a place of the loop. */
const HOLD_MS = 1_000;
/** A pool of two connections gives the consumer one. The loop still starts four of its rows at a time. */
const CORE = {
  workPoolSize: 2,
  prefetch: 16,
  leaseMs: LEASE_MS,
  scanIntervalMs: 50,
  handlerTimeoutMs: 60_000,
  inbox: { attemptsMax: 2 },
};
const library = libraryOf();
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await freshSandbox('waiting_for_place', { audited: false });
});

test('a stored delivery that waits for a place of its consumer for many leases keeps its attempts', async () => {
  const contract = contractOf(library, 'waiting-for-place');
  let begun = 0;
  let letGo!: () => void;
  const gate = new Promise<void>((open) => {
    letGo = open;
  });
  // A consumer has one row in work until the first one has ended.
  const handle = () => (++begun === 1 ? undefined : gate);
  const start = async () => {
    const controllers = [controllerOf([[library.OnMessage(contract), handle]])];
    const service = await LittleService.start({ sandbox, library, controllers, core: CORE });
    onTestFinished(() => {
      letGo();
      return service.close();
    });
    return service;
  };
  await (await start()).close(); // migrates
  await storeDue(sandbox, contract, { count: 3, due: '2021-01-01' });
  await start();
  await until('the second one has the place', () => begun === 2);
  await untilPassed(performance.now(), 4 * (LEASE_MS + HOLD_MS));
  expect(await states()).toEqual(['HANDLED 0', 'RETRYING 0', 'RETRYING 0']);
  letGo();
  await until('all are over', async () => (await states()).every((state) => !state.startsWith('RETRYING')));
  expect([begun, await states()]).toEqual([3, ['HANDLED 0', 'HANDLED 0', 'HANDLED 0']]);
});

async function states(): Promise<string[]> {
  const found = await sql<{ state: string; attempts: number }>(
    sandbox,
    'payment',
    'SELECT state, attempts FROM dtx_inbox',
  );
  return found.map(({ state, attempts }) => `${state} ${attempts}`).sort();
}
