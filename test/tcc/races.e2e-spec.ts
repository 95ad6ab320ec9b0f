import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import type { TccOutcome } from '../../libs/dtx/src/index.js';
import type { Decision } from '../../libs/dtx/src/tcc/schema.js';
import { until } from '../support/until.js';
import { freshWorld, sql, type World } from '../support/world.js';
import { EFFECTS, write } from './arrivals.js';
import { type Library, LittleApp, libraryOf, participantOf } from './little-app.js';

const NO_ARGS = z.object({});
/** Long enough for a Try on a busy machine. */
const TIMEOUT_MS = 200;
let world: World;
let library: Library;
const running: LittleApp[] = [];

beforeAll(async () => {
  world = await freshWorld('tcc_races', { audited: false });
  library = await libraryOf();
  await sql(world, 'payment', EFFECTS);
});

/** They share a database: one that runs on would recover the transactions of the next test, in its own way. */
afterEach(() => Promise.all(running.splice(0).map((app) => app.close())));

const contractOf = (name: string) => library.decorators.defineParticipant({ name, version: 1, args: NO_ARGS });

/** Two instances of one initiator, and a participant in each. */
async function twoOf(methods: Parameters<typeof participantOf>[2], name: string, options: object = {}) {
  const contract = contractOf(name);
  const providers = [participantOf(library, contract, methods)];
  const one = () =>
    LittleApp.start({ world, library, providers, participates: { participates: [contract], ...options } });
  const apps = await Promise.all([one(), one()]);
  running.push(...apps);
  return { contract, apps };
}

const effectsOf = async (gid: string) => {
  const rows = await sql<{ phase: string }>(world, 'payment', 'SELECT phase FROM effect WHERE gid = ? ORDER BY n', [
    gid,
  ]);
  return rows.map(({ phase }) => phase).join(' ');
};

const stateOf = async (gid: string) => {
  const query = 'SELECT state, attempts, last_error FROM dtx_tcc WHERE id = ?';
  return (await sql<{ state: string; attempts: number; last_error: string | null }>(world, 'payment', query, [gid]))[0];
};

const untilOver = (gid: string) =>
  until(`${gid} is over`, async () => /^CON.*ED$|^CANCELLED$/.test((await stateOf(gid))?.state ?? ''));

test('the deadline against the decision, 1,000 times: one outcome each, and the caller is told the one on disk', async () => {
  const { contract, apps } = await twoOf(
    {
      try: (tx, _, { gid }) => write(tx, gid, 'try'),
      confirm: (tx, _, { gid }) => write(tx, gid, 'confirm'),
      cancel: (tx, _, { gid }) => write(tx, gid, 'cancel'),
    },
    'payment.race',
    { markDelayMs: 5 },
  );
  const lost = apps.map(decideAroundTheDeadline);
  const told: TccOutcome[] = [];
  const caller = async (app: LittleApp) => {
    while (told.length < 1_000) told.push(await app.tcc.run({ timeoutMs: TIMEOUT_MS }, (t) => t.call(contract, {})));
  };
  await Promise.all(Array.from({ length: 24 }, (_, n) => caller(apps[n % 2]!)));
  for (const { gid } of told) await untilOver(gid);
  const rows = await sql<{ id: string; state: string }>(world, 'payment', 'SELECT id, state FROM dtx_tcc');
  const onDisk = new Map(rows.map(({ id, state }) => [id, state]));
  const counts: Record<string, number> = {};
  for (const { gid, status } of told) {
    counts[status] = (counts[status] ?? 0) + 1;
    expect([gid, onDisk.get(gid)]).toEqual([gid, status]);
  }
  const losses = { CONFIRM: lost[0]!.CONFIRM + lost[1]!.CONFIRM, CANCEL: lost[0]!.CANCEL + lost[1]!.CANCEL };
  console.log(`told: ${JSON.stringify(counts)}; compare-and-sets that came too late: ${JSON.stringify(losses)}`);
  expect(Math.min(counts.CONFIRMED ?? 0, counts.CANCELLED ?? 0)).toBeGreaterThan(100);
  expect(losses.CONFIRM).toBeGreaterThan(100);
}, 180_000);

/**
 * The caller comes to its decision when the deadline passes, give or take some milliseconds, as the scan does. Counts
 * its compare-and-sets that were too late: only then was there a race at all.
 */
function decideAroundTheDeadline(app: LittleApp): Record<Decision, number> {
  const lost = { CONFIRM: 0, CANCEL: 0 };
  // Earlier after a loss, later after a win: half and half, however busy the machine is.
  let leadMs = 5;
  type Cas = (gid: string, decision: Decision, reason: string | null) => Promise<unknown>;
  const tcc = app.tcc as unknown as { compareAndSet: Cas };
  const cas = tcc.compareAndSet.bind(app.tcc);
  tcc.compareAndSet = async (gid, decision, reason) => {
    if (decision === 'CONFIRM') {
      const query =
        'SELECT TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), deadline) / 1000 AS ms FROM dtx_tcc WHERE id = ?';
      const [{ ms }] = await app.source.query(query, [gid]);
      await sleep(Math.max(0, Number(ms) - 2 * leadMs * Math.random()));
    }
    const decided = await cas(gid, decision, reason);
    if (!decided) lost[decision]++;
    if (decision === 'CONFIRM') leadMs = Math.max(0, leadMs + (decided ? -1 : 1));
    return decided;
  };
  return lost;
}

test('two coordinators recover one transaction at once: each branch has carried it out once', async () => {
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

test('a Confirm that fails five times and then works: CONFIRMED in the end, never cancelled', async () => {
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

test('a deadlock between two Tries is retried: both are told yes', async () => {
  await sql(world, 'payment', 'CREATE TABLE shelf (id INT PRIMARY KEY, n INT NOT NULL)');
  await sql(world, 'payment', 'INSERT INTO shelf VALUES (1, 0), (2, 0)');
  const runs: number[] = [];
  let meet: () => void = () => {};
  const met = new Promise<void>((resolve) => (meet = resolve));
  const contract = library.decorators.defineParticipant({
    name: 'payment.cross',
    version: 1,
    args: z.object({ ids: z.array(z.int()) }),
  });
  const type = participantOf(library, contract, {
    try: async (tx, { ids }) => {
      runs.push(ids[0]);
      await tx.query('UPDATE shelf SET n = n + 1 WHERE id = ?', [ids[0]]);
      if (new Set(runs).size === 2) meet();
      await met; // both hold what the other wants
      await tx.query('UPDATE shelf SET n = n + 1 WHERE id = ?', [ids[1]]);
    },
  });
  const app = await LittleApp.start({ world, library, providers: [type] });
  running.push(app);
  const run = (ids: number[]) => app.tcc.run({ timeoutMs: 20_000 }, (t) => t.call(contract, { ids }));
  const outcomes = await Promise.all([run([1, 2]), run([2, 1])]);
  expect(outcomes.map(({ status }) => status)).toEqual(['CONFIRMED', 'CONFIRMED']);
  expect(runs.length).toBeGreaterThan(2); // one was the victim
  expect(await sql(world, 'payment', 'SELECT n FROM shelf')).toEqual([{ n: 2 }, { n: 2 }]);
});

test('business SQL on another connection than the barrier is refused, and its own effect is not there', async () => {
  let app: LittleApp;
  const contract = contractOf('payment.strays');
  const type = participantOf(library, contract, {
    try: async (tx, _, { gid }) => {
      await write(tx, gid, 'try');
      await app.source.query('INSERT INTO effect (gid, phase) VALUES (?, ?)', [gid, 'stray']);
    },
  });
  app = await LittleApp.start({ world, library, providers: [type] });
  running.push(app);
  const branch = { branch: 0, participant: contract.name, version: 1, args: {} };
  const answer = await app.calls.call(branch, { gid: 'strays', phase: 'try' }, 5_000);
  expect(answer).toMatchObject({ verdict: 'failed', reason: expect.stringMatching(/tx that it was given/) });
  expect(await effectsOf('strays')).toBe('');
});
