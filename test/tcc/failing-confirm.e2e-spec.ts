import type { EntityManager } from 'typeorm';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { EFFECTS, effectsOf, write } from './effect-table.js';
import { type LittleApp, libraryOf } from './little-app.js';
import { startTwo, stateOf, untilOver } from './two-instances.js';

const library = libraryOf();
let sandbox: Sandbox;
const running: LittleApp[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_repeated_confirm', { audited: false });
  await sql(sandbox, 'payment', EFFECTS);
});

afterEach(() => Promise.all(running.splice(0).map((app) => app.close())));

test('a Confirm that fails five times and then works ends CONFIRMED and is never cancelled', async () => {
  let failures = 0;
  const { contract, apps } = await startTwo(
    { sandbox, library },
    {
      confirm: async (tx, _, { gid }) => {
        await write(tx, gid, 'confirm');
        if (++failures <= 5) throw new Error(`failure ${failures}`);
      },
      cancel: (tx, _, { gid }) => write(tx, gid, 'cancel'),
    },
    'payment.fails',
    { secondPhaseWaitMs: 50, backoff: { firstMs: 20, factor: 1, capMs: 20 } },
  );
  running.push(...apps);
  const { gid, status } = await apps[0]!.tcc.run({}, (t) => t.call(contract, {}));
  expect(status).toBe('CONFIRMED');
  await untilOver(sandbox, gid);
  expect(await stateOf(sandbox, gid)).toMatchObject({
    state: 'CONFIRMED',
    attempts: 5,
    last_error: expect.stringContaining('failure 5'),
  });
  expect(await effectsOf(sandbox, gid)).toBe('confirm');
});

/** Its error comes with COMMIT, and the own participant's statement travels with the commit of the initiator. */
const insertTwice = (tx: EntityManager, n: number) =>
  library.deferStatement(tx, 'INSERT INTO effect (n, gid, phase) VALUES (?, ?, ?), (?, ?, ?)', [n, '', '', n, '', '']);

test('a deferred statement of Try that fails at the registering commit cancels the transaction', async () => {
  const { contract, apps } = await startTwo(
    { sandbox, library },
    { try: (tx) => insertTwice(tx, 1_000) },
    'payment.defers-try',
  );
  running.push(...apps);
  const { gid, status } = await apps[0]!.tcc.run({}, (t) => t.call(contract, {}));
  expect(status).toBe('CANCELLED');
  expect(await stateOf(sandbox, gid)).toMatchObject({ state: 'CANCELLED' });
});

test('a deferred statement of Confirm that fails at the deciding commit does not stop the decision', async () => {
  let calls = 0;
  const { contract, apps } = await startTwo(
    { sandbox, library },
    {
      confirm: async (tx, _, { gid }) => {
        await write(tx, gid, 'confirm');
        if (++calls === 1) await insertTwice(tx, 2_000);
      },
    },
    'payment.defers-confirm',
    { secondPhaseWaitMs: 50, backoff: { firstMs: 20, factor: 1, capMs: 20 } },
  );
  running.push(...apps);
  const { gid, status } = await apps[0]!.tcc.run({}, (t) => t.call(contract, {}));
  expect(status).toBe('CONFIRMED');
  await untilOver(sandbox, gid);
  expect(await stateOf(sandbox, gid)).toMatchObject({ state: 'CONFIRMED', attempts: 1 });
  expect(await effectsOf(sandbox, gid)).toBe('confirm');
});
