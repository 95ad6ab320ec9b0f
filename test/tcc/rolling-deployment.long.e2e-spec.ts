/**
 * A rolling deployment: instances of this version and of the one before share databases and queues, as initiators and as
 * participants. Each of them may make, or take, any call of a transaction.
 */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { arrivals, type Caller, play, recorders } from './barrier-model.js';
import { versionBefore } from './build-of-version-before.js';
import { EFFECTS, write } from './effect-table.js';
import { type Library, LittleApp, type LittleOptions, libraryOf, participantOf } from './little-app.js';

const RUNS = process.env.DTX_TEST_ALL ? 1_000 : 150;
const VERSIONS = ['old', 'new'] as const;
type Version = (typeof VERSIONS)[number];
type Phase = 'try' | 'confirm' | 'cancel';

let sandbox: Sandbox;
let libraries: Record<Version, Library>;
/** Both versions of an initiator that takes part in nothing. */
let order: Record<Version, LittleApp>;
const running: LittleApp[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_versions', { audited: false });
  libraries = { old: versionBefore('tcc-versions'), new: libraryOf() };
  await sql(sandbox, 'payment', EFFECTS);
  const initiator = (version: Version) => LittleApp.start({ sandbox, library: libraries[version], app: 'order' });
  // The old one first: it finds the schema of its own version.
  order = { old: await initiator('old'), new: await initiator('new') };
  const old = await LittleApp.start({ sandbox, library: libraries.old });
  expect(await columnsOf('dtx_tcc_barrier')).not.toContain('initiator');
  await old.close();
});

afterEach(() => Promise.all(running.splice(0).map((app) => app.close())));
afterAll(() => Promise.all(Object.values(order ?? {}).map((app) => app.close())));

const columnsOf = async (table: string) =>
  (
    await sql<{ c: string }>(
      sandbox,
      'payment',
      `SELECT column_name AS c FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = ?`,
      [table],
    )
  ).map(({ c }) => c);

async function participant(version: Version, options: Partial<LittleOptions> = {}): Promise<LittleApp> {
  const library = libraries[version];
  const app = await LittleApp.start({ sandbox, library, providers: recorders(library), ...options });
  running.push(app);
  return app;
}

/** A transaction of `order`. Only the process that has registered it calls Try. */
interface Transaction {
  readonly gid: string;
  readonly registeredBy: Version;
  readonly incarnation: string;
}
const transaction = (registeredBy: Version): Transaction => {
  const incarnation = randomBytes(8).toString('hex');
  return { gid: `${registeredBy}-${incarnation}`, registeredBy, incarnation };
};

/** The fields that an instance of the initiator sends. The old one has no names, the new one none for an old transaction. */
async function call(by: Version, { gid, registeredBy, incarnation }: Transaction, phase: Phase): Promise<string> {
  const branch = { branch: 0, participant: 'payment.tried', version: 1, args: { isPoor: false } };
  const name = by === 'new' && registeredBy === 'new' ? { incarnation } : {};
  return (await order[by].calls.call(branch, { gid, phase, ...name }, 10_000)).verdict;
}

const effectsOf = async ({ gid }: Transaction) =>
  (await sql<{ phase: string }>(sandbox, 'payment', 'SELECT phase FROM effect WHERE gid = ? ORDER BY n', [gid]))
    .map(({ phase }) => phase)
    .join(' ');

/** Every pair of versions of the initiator: who registers and tries, and who makes the second call. */
const initiators = VERSIONS.flatMap((first) => VERSIONS.map((second) => ({ first, second })));

describe.each(VERSIONS.flatMap((first) => VERSIONS.map((second) => [first, second] as const)))(
  'with the %s participant first, then the %s one',
  (firstAt, secondAt) => {
    test.each(['confirm', 'cancel'] as const)(
      'a Try finds its %s once, from callers of both versions',
      async (phase) => {
        const all = initiators.map((by) => ({ by, of: transaction(by.first) }));
        await participant(firstAt);
        for (const { by, of } of all) expect(await call(by.first, of, 'try')).toBe('ok');
        await Promise.all(running.splice(0).map((app) => app.close()));
        await participant(secondAt);
        for (const { by, of } of all) {
          expect([by, await call(by.second, of, phase), await call(by.second, of, phase)]).toEqual([by, 'ok', 'ok']);
          const contrary = phase === 'confirm' ? 'cancel' : 'confirm';
          expect([by, await call(by.first, of, contrary)]).toEqual([by, 'illegal']);
        }
        await Promise.all(running.splice(0).map((app) => app.close()));
        await participant(firstAt);
        for (const { by, of } of all) {
          expect([by, await call(by.first, of, phase)]).toEqual([by, 'ok']);
          expect([by, await effectsOf(of)]).toEqual([by, `try ${phase}`]);
        }
      },
    );

    test('a Try after its Cancel is refused, from callers of both versions', async () => {
      const all = initiators.map((by) => ({ by, of: transaction(by.first) }));
      await participant(firstAt);
      for (const { by, of } of all) expect([by, await call(by.second, of, 'cancel')]).toEqual([by, 'ok']);
      await Promise.all(running.splice(0).map((app) => app.close()));
      await participant(secondAt);
      for (const { by, of } of all) {
        expect([by, await call(by.first, of, 'try')]).toEqual([by, 'refused']);
        expect([by, await effectsOf(of)]).toEqual([by, '']);
      }
    });
  },
);

test(`calls are correct in every order of arrival while both versions call and take part (${RUNS} generated)`, async () => {
  const app = await participant('new');
  await participant('old');
  const seed = fc.array(fc.constantFrom(...VERSIONS), { minLength: 12, maxLength: 12 });
  const property = fc.asyncProperty(
    arrivals,
    fc.constantFrom(...VERSIONS),
    seed,
    async (given, registeredBy, turns) => {
      let n = 0;
      const of = transaction(registeredBy);
      const caller: Caller = async (branch, about) => {
        const by = about.phase === 'try' ? registeredBy : turns[n++ % turns.length]!;
        const name = by === 'new' && registeredBy === 'new' ? { incarnation: of.incarnation } : {};
        return order[by].calls.call(branch, { ...about, ...name }, 20_000);
      };
      expect(await play(app, { ...given, isMixed: true }, caller)).toBeNull();
    },
  );
  await fc.assert(property, { numRuns: RUNS, endOnFailure: true });
}, 240_000);

test('two old initiators that use one gid have effects of their own at a new participant', async () => {
  await participant('new');
  const old = await LittleApp.start({ sandbox, library: libraries.old, app: 'inventory' });
  running.push(old);
  const of = transaction('old');
  const branch = { branch: 0, participant: 'payment.tried', version: 1, args: { isPoor: false } };
  const answers = [
    await call('old', of, 'try'),
    (await old.calls.call(branch, { gid: of.gid, phase: 'try' }, 5_000)).verdict,
    await call('old', of, 'confirm'),
    (await old.calls.call(branch, { gid: of.gid, phase: 'cancel' }, 5_000)).verdict,
  ];
  expect(answers).toEqual(['ok', 'ok', 'ok', 'ok']);
  expect(await effectsOf(of)).toBe('try try confirm cancel');
});

test('an old instance of an initiator does not know which of two transactions of a gid it calls for, and waits for a new one', async () => {
  await participant('new');
  const first = transaction('new');
  const again = { ...first, incarnation: 'again' };
  for (const one of [first, again]) expect(await call('new', one, 'try')).toBe('ok');
  expect(await call('old', again, 'confirm')).toBe('failed');
  expect(await effectsOf(first)).toBe('try try');
  for (const one of [first, again]) expect(await call('new', one, 'confirm')).toBe('ok');
});

test.each(VERSIONS)(
  'a transaction that an instance of the other version than the %s one has begun is carried out',
  async (by) => {
    const other = by === 'old' ? 'new' : 'old';
    let isAway = true;
    const contract = libraries[by].decorators.defineParticipant({
      name: 'payment.flaky',
      version: 1,
      args: z.object({}),
    });
    const flaky = (version: Version) =>
      participantOf(libraries[version], contract, {
        try: (tx, _, { gid }) => write(tx, gid, 'try'),
        confirm: (tx, _, { gid }) => {
          if (isAway) throw new Error('not yet');
          return write(tx, gid, 'confirm');
        },
      });
    const times = { backoff: { firstMs: 30, factor: 1, capMs: 30 }, secondPhaseWaitMs: 200, attemptsMax: 1_000 };
    const begins = await participant(other, { providers: [flaky(other)], participates: times });
    const gid = `begun-by-${other}`;
    expect(await begins.tcc.run({ gid }, (t) => t.call(contract, {}))).toMatchObject({ status: 'CONFIRMED' });
    running.splice(running.indexOf(begins), 1);
    await begins.close();
    isAway = false;
    await participant(by, { providers: [flaky(by)], participates: times });
    await until('it is carried out', async () => {
      const rows = await sql<{ state: string }>(sandbox, 'payment', 'SELECT state FROM dtx_tcc WHERE id = ?', [gid]);
      return rows[0]?.state === 'CONFIRMED';
    });
    const effects = await sql<{ phase: string }>(
      sandbox,
      'payment',
      'SELECT phase FROM effect WHERE gid = ? ORDER BY n',
      [gid],
    );
    expect(effects.map(({ phase }) => phase)).toEqual(['try', 'confirm']);
  },
);

test('a participant that is upgraded, downgraded and upgraded again gets each second phase of one initiator', async () => {
  const participates = { callTimeoutMs: 500, secondPhaseWaitMs: 200, backoff: { firstMs: 30, factor: 1, capMs: 30 } };
  const initiator = await LittleApp.start({
    sandbox,
    library: libraries.new,
    app: 'order',
    participates,
    core: { leaseMs: 500 },
  });
  running.push(initiator);
  const contract = libraries.new.decorators.defineParticipant({
    name: 'payment.moving',
    version: 1,
    args: z.object({}),
  });
  const done: string[] = [];
  for (const [round, version] of (['old', 'new', 'old', 'new'] as const).entries()) {
    const confirm = () => done.push(`${version} ${round}`);
    const providers = [participantOf(libraries[version], contract, { confirm })];
    const app = await participant(version, { providers });
    await until('its queue is consumed', () =>
      initiator.calls.hasConsumer({ participant: contract.name, version: 1 } as never),
    );
    const gid = `moving-${round}`;
    expect(await initiator.tcc.run({ gid }, (t) => t.call(contract, {}))).toMatchObject({ status: 'CONFIRMED' });
    await until('it is carried out', async () => {
      const rows = await sql<{ state: string }>(sandbox, 'order', 'SELECT state FROM dtx_tcc WHERE id = ?', [gid]);
      return rows[0]?.state === 'CONFIRMED';
    });
    running.splice(running.indexOf(app), 1);
    await app.close();
  }
  expect(done).toEqual(['old 0', 'new 1', 'old 2', 'new 3']);
});
