import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { until } from '../fixtures/until.js';
import { decisions, expectNothingLeft } from './branches-and-decisions.js';
import { ALL, effectsOf, everywhere, LittleXa, libraryOf, prepareTables } from './little-xa.js';

const library = libraryOf();
let sandbox: Sandbox;
let app: LittleXa;
const proxies: Partial<Record<'order' | 'payment', TcpProxy>> = {};
let count = 0;

beforeAll(async () => {
  sandbox = await freshSandbox('xa_cuts');
  await prepareTables(sandbox, library);
  for (const name of ['order', 'payment'] as const) proxies[name] = await TcpProxy.start(sandbox.databases[name]);
  const urls = { order: proxies.order!.url, payment: proxies.payment!.url };
  // The cut line ends a transaction here, not the deadline.
  app = await LittleXa.start({ sandbox, library, urls, xa: { timeoutMs: 5_000 } });
});

afterEach(async () => {
  await sql(sandbox, 'order', 'DROP TRIGGER IF EXISTS test_slow_decision');
});

afterAll(async () => {
  await app?.close();
  await Promise.all(Object.values(proxies).map((proxy) => proxy.close()));
});

type Told = 'committed' | 'rolled back' | 'unknown';

async function toldOf(run: Promise<unknown>): Promise<Told> {
  return run.then(
    () => 'committed',
    // A loss before the decision may be the driver's own error.
    (error: Error) => (error.name === 'OutcomeUnknown' ? 'unknown' : 'rolled back'),
  );
}

/** All or nothing, in accordance with the answer. */
async function expectTruth(gid: string, told: Told): Promise<void> {
  await expectNothingLeft(sandbox);
  const effects = await effectsOf(sandbox, gid);
  if (told === 'committed') expect(effects).toEqual(ALL);
  if (told === 'rolled back') expect(effects).toEqual([]);
  if (told === 'unknown') expect([0, ALL.length]).toContain(effects.length);
}

/** Every statement of the protocol, and the possible answers when the line is lost at it. */
const STATEMENTS: ReadonlyArray<readonly ['order' | 'payment', string, Record<'call' | 'answer', readonly Told[]>]> = [
  ['order', 'START TRANSACTION', { call: ['rolled back'], answer: ['rolled back'] }],
  ['payment', 'XA START', { call: ['rolled back'], answer: ['rolled back'] }],
  ['payment', 'INSERT INTO effect', { call: ['rolled back'], answer: ['rolled back'] }],
  ['order', 'INSERT INTO effect', { call: ['rolled back'], answer: ['rolled back'] }],
  ['payment', 'XA END', { call: ['rolled back'], answer: ['rolled back'] }],
  ['order', `'COMMIT'`, { call: ['rolled back', 'unknown'], answer: ['committed', 'unknown'] }],
  ['payment', 'XA COMMIT', { call: ['committed'], answer: ['committed'] }],
];

for (const [name, statement, outcomes] of STATEMENTS) {
  test.each(['call', 'answer'] as const)(
    `a transaction that loses the %s of ${statement} on the line to ${name} does all or nothing, as answered, and hooks run if it stands`,
    async (lost) => {
      const gid = `cut-${++count}`;
      const proxy = proxies[name]!;
      let isSeen = false;
      const stop = proxy.onBytes('to-server', (chunk) => {
        if (!chunk.includes(statement)) return;
        stop();
        isSeen = true;
        if (lost === 'call') proxy.cut();
        else proxy.blackHole('to-client');
      });
      let hooksRun = 0;
      const run = app.run(gid, async (managers) => {
        await everywhere(gid)(managers);
        app.context.get(library.Database).hooks.afterCommit(managers.order!, async () => void hooksRun++);
      });
      const told = toldOf(run);
      await until('the line is lost', () => isSeen);
      if (lost === 'answer') {
        // The server has had the time to carry the statement out. Then the connection turns out to be dead.
        await until('bytes of an answer are swallowed', () => proxy.counts.swallowed > 0);
        proxy.cut();
      }
      proxy.heal();
      proxy.counts.swallowed = 0;
      expect(outcomes[lost]).toContain(await told);
      expect(hooksRun).toBe((await told) === 'committed' ? 1 : 0);
      await expectTruth(gid, await told);
    },
  );
}

test('a rollback that loses its line at XA ROLLBACK leaves no effect', async () => {
  const gid = `cut-${++count}`;
  const proxy = proxies.payment!;
  const stop = proxy.onBytes('to-server', (chunk) => {
    if (!chunk.includes('XA ROLLBACK')) return;
    stop();
    proxy.cut();
  });
  const run = app.run(gid, async (managers) => {
    await everywhere(gid)(managers);
    throw new Error('no');
  });
  await expect(run).rejects.toThrow('no');
  proxy.heal();
  await expectTruth(gid, 'rolled back');
});

test('a decision whose COMMIT still runs when its connection dies is answered as unknown, and no branch is touched before it ends', async () => {
  const gid = `cut-${++count}`;
  await sql(
    sandbox,
    'order',
    `CREATE TRIGGER test_slow_decision AFTER INSERT ON dtx_xa FOR EACH ROW
     IF NEW.decision = 'COMMIT' THEN DO SLEEP(4); END IF`,
  );
  const proxy = proxies.order!;
  let isSeen = false;
  const stop = proxy.onBytes('to-server', (chunk) => {
    if (!chunk.includes(`'COMMIT'`)) return;
    stop();
    isSeen = true;
  });
  const told = toldOf(app.run(gid, everywhere(gid)));
  await until('the decision is on its way', () => isSeen);
  await until('it is being inserted', async () => {
    const rows = await sql(sandbox, 'order', `SHOW PROCESSLIST`);
    return rows.some(({ Info }) => /SLEEP\(4\)|INSERT INTO dtx_xa/.test(String(Info)));
  });
  proxy.blackHole('to-client');
  proxy.cut();
  proxy.heal();
  expect(await told).toBe('unknown');
  expect(await effectsOf(sandbox, gid)).toEqual([]);
  await until('it has ended', async () => (await decisions(sandbox, gid)).length > 0);
  await expectNothingLeft(sandbox);
  const [row] = await decisions(sandbox, gid);
  expect(await effectsOf(sandbox, gid)).toEqual(row!.decision === 'COMMIT' ? ALL : []);
});
