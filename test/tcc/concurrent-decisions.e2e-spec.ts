import { afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { EFFECTS, write } from './barrier-model.js';
import { contradictions, racers } from './deadline-race.js';
import { type Library, LittleApp, libraryOf, participantOf } from './little-app.js';

const NO_ARGS = z.object({});
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

const contractOf = (name: string) => library.decorators.defineParticipant({ name, version: 1, args: NO_ARGS });

/** Two instances of one initiator, and a participant in each. */
async function twoOf(methods: Parameters<typeof participantOf>[2], name: string, options: object = {}) {
  const contract = contractOf(name);
  const providers = [participantOf(library, contract, methods)];
  const one = () =>
    LittleApp.start({ sandbox, library, providers, participates: { participates: [contract], ...options } });
  const apps = await Promise.all([one(), one()]);
  running.push(...apps);
  return { contract, apps };
}

const effectsOf = async (gid: string) => {
  const rows = await sql<{ phase: string }>(sandbox, 'payment', 'SELECT phase FROM effect WHERE gid = ? ORDER BY n', [
    gid,
  ]);
  return rows.map(({ phase }) => phase).join(' ');
};

const stateOf = async (gid: string) => {
  const query = 'SELECT state, attempts, last_error FROM dtx_tcc WHERE id = ?';
  return (
    await sql<{ state: string; attempts: number; last_error: string | null }>(sandbox, 'payment', query, [gid])
  )[0];
};

const untilOver = (gid: string) =>
  until(`${gid} is over`, async () => /^CON.*ED$|^CANCELLED$/.test((await stateOf(gid))?.state ?? ''));

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
  const { contract, apps } = await twoOf(
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
  const { gid, status, waitingFor } = await apps[0]!.tcc.run({}, (t) => t.call(contract, {}));
  expect([status, waitingFor]).toEqual(['CONFIRMED', [contract.name]]);
  const calls = apps.map((app) => countCalls(app, 'confirm'));
  await until('both coordinators have called while the first Confirm is open', () =>
    calls.every(({ count }) => count > 0),
  );
  expect(inConfirm).toHaveLength(1); // the barrier holds all others off
  inConfirm[0]!();
  await untilOver(gid);
  expect(await effectsOf(gid)).toBe('confirm');
  expect(await stateOf(gid)).toMatchObject({ state: 'CONFIRMED' });
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

test('a Confirm that fails five times and then works ends CONFIRMED and is never cancelled', async () => {
  let failures = 0;
  const { contract, apps } = await twoOf(
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
  const { gid, status } = await apps[0]!.tcc.run({}, (t) => t.call(contract, {}));
  expect(status).toBe('CONFIRMED');
  await untilOver(gid);
  expect(await stateOf(gid)).toMatchObject({
    state: 'CONFIRMED',
    attempts: 5,
    last_error: expect.stringContaining('failure 5'),
  });
  expect(await effectsOf(gid)).toBe('confirm');
});

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

test('business SQL on another connection than the barrier is refused and has no effect', async () => {
  let app: LittleApp;
  const contract = contractOf('payment.strays');
  const type = participantOf(library, contract, {
    try: async (tx, _, { gid }) => {
      await write(tx, gid, 'try');
      await app.source.query('INSERT INTO effect (gid, phase) VALUES (?, ?)', [gid, 'stray']);
    },
  });
  app = await LittleApp.start({ sandbox, library, providers: [type] });
  running.push(app);
  const branch = { branch: 0, participant: contract.name, version: 1, args: {} };
  const answer = await app.calls.call(branch, { gid: 'strays', phase: 'try' }, 5_000);
  expect(answer).toMatchObject({
    verdict: 'failed',
    reason: expect.stringMatching(/another connection.*use the given tx/),
  });
  expect(await effectsOf('strays')).toBe('');
});
