import { afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { EFFECTS, effectsOf, write } from './barrier-model.js';
import { contradictions, racers } from './deadline-race.js';
import { type Library, LittleApp, libraryOf, participantOf } from './little-app.js';
import { startTwo, stateOf, untilOver } from './two-instances.js';

let sandbox: Sandbox;
let library: Library;
const running: LittleApp[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_races', { audited: false });
  library = libraryOf();
  await sql(sandbox, 'payment', EFFECTS);
});

/** They share a database: one that runs on would recover the transactions of the next test, in its own way. */
afterEach(() => Promise.all(running.splice(0).map((app) => app.close())));

test('deadline and decision race 1,000 times, and each caller gets the one outcome on disk', async () => {
  const race = await racers(sandbox, library);
  running.push(...race.apps);
  const { told, unknown, late } = await race.run(1_000);
  const confirmed = told.filter(({ status }) => status === 'CONFIRMED').length;
  console.log(
    `${told.length} answered, ${confirmed} of them CONFIRMED; compare-and-sets too late: ${JSON.stringify(late)}`,
  );
  expect(await contradictions(sandbox, told)).toEqual([]);
  expect(told.length + unknown).toBe(1_000);
  expect(unknown).toBeLessThan(50);
  // A race needs both sides. A busy machine shifts it to one side.
  expect(Math.min(confirmed, told.length - confirmed, late.CONFIRM)).toBeGreaterThan(20);
}, 180_000);

test('two coordinators that recover one transaction at once have each branch carry it out once', async () => {
  const inConfirm: Array<() => void> = [];
  const { contract, apps } = await startTwo(
    { sandbox, library },
    {
      confirm: async (tx, _, { gid }) => {
        await write(tx, gid, 'confirm');
        await new Promise<void>((resolve) => inConfirm.push(resolve));
      },
    },
    'payment.two',
    // A round gives up long before the participant answers, so that the next claim meets it still at work.
    { callTimeoutMs: 100, secondPhaseWaitMs: 50, backoff: { firstMs: 20, factor: 1, capMs: 20 } },
  );
  running.push(...apps);
  const { gid, status, waitingFor } = await apps[0]!.tcc.run({}, (t) => t.call(contract, {}));
  expect([status, waitingFor]).toEqual(['CONFIRMED', [contract.name]]);
  const calls = apps.map((app) => countCalls(app, 'confirm'));
  await until('both coordinators have called while the first Confirm is open', () =>
    calls.every(({ count }) => count > 0),
  );
  expect(inConfirm).toHaveLength(1); // the barrier holds all others off
  inConfirm[0]!();
  await untilOver(sandbox, gid);
  expect(await effectsOf(sandbox, gid)).toBe('confirm');
  expect(await stateOf(sandbox, gid)).toMatchObject({ state: 'CONFIRMED' });
});

function countCalls({ calls }: LittleApp, phase: string): { count: number } {
  const made = { count: 0 };
  const call = calls.call.bind(calls);
  calls.call = (branch, about, timeoutMs) => {
    if (about.phase === phase) made.count++;
    return call(branch, about, timeoutMs);
  };
  return made;
}

test('a deadlock between two Tries is retried, and both succeed', async () => {
  await sql(sandbox, 'payment', 'CREATE TABLE shelf (id INT PRIMARY KEY, n INT NOT NULL)');
  await sql(sandbox, 'payment', 'INSERT INTO shelf VALUES (1, 0), (2, 0)');
  let runs = 0;
  const held = new Set<number>();
  let meet: () => void = () => {};
  const met = new Promise<void>((resolve) => (meet = resolve));
  const contract = library.decorators.defineParticipant({
    name: 'payment.cross',
    version: 1,
    args: z.object({ ids: z.array(z.int()) }),
  });
  const type = participantOf(library, contract, {
    try: async (tx, { ids }) => {
      runs++;
      await tx.query('UPDATE shelf SET n = n + 1 WHERE id = ?', [ids[0]]);
      // Not before the lock is held: otherwise one of them may get both while the other has none.
      held.add(ids[0]);
      if (held.size === 2) meet();
      await met; // each holds the row that the other one needs
      await tx.query('UPDATE shelf SET n = n + 1 WHERE id = ?', [ids[1]]);
    },
  });
  const app = await LittleApp.start({ sandbox, library, providers: [type] });
  running.push(app);
  const run = (ids: number[]) => app.tcc.run({ timeoutMs: 20_000 }, (t) => t.call(contract, { ids }));
  const outcomes = await Promise.all([run([1, 2]), run([2, 1])]);
  expect(outcomes.map(({ status }) => status)).toEqual(['CONFIRMED', 'CONFIRMED']);
  expect(runs).toBeGreaterThan(2); // one was the victim
  expect(await sql(sandbox, 'payment', 'SELECT n FROM shelf')).toEqual([{ n: 2 }, { n: 2 }]);
});
