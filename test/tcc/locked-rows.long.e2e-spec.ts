import { type Connection, createConnection } from 'mysql2/promise';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { statementsNow } from '../fixtures/running-statements.js';
import { type AppName, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { LittleApp, type LittleOptions, libraryOf, participantOf } from './little-app.js';

const library = libraryOf();
const PREFETCH = 4;
const FLOOD = 30;
const BACKOFF = { firstMs: 50, factor: 1, capMs: 50 };
const args = z.object({ row: z.string() });
const stock = library.decorators.defineParticipant({ name: 'inventory.stock', version: 1, args });
const own = library.decorators.defineParticipant({ name: 'payment.own', version: 1, args });
let sandbox: Sandbox;
let holder: Connection;
let running: LittleApp[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_locked', { audited: false });
  for (const app of ['inventory', 'payment'] as const) {
    await sql(sandbox, app, 'CREATE TABLE shelf (row_id VARCHAR(16) PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB');
    await sql(sandbox, app, `INSERT INTO shelf VALUES ('held', 0), ('free', 0), ('second', 0)`);
  }
});
beforeEach(() => {
  running = [];
});
afterEach(async () => {
  await holder?.query('ROLLBACK');
  await holder?.end();
  await Promise.all(running.map((app) => app.close()));
});

/** Locks rows as a process does that was stopped amid its transaction. */
async function hold(app: AppName, ...rows: string[]): Promise<void> {
  holder = await createConnection({ uri: sandbox.databases[app] });
  await holder.query('START TRANSACTION');
  await holder.query('SELECT * FROM shelf WHERE row_id IN (?) FOR UPDATE', [rows]);
}

type Methods = Parameters<typeof participantOf>[2];
/** Its Try changes a row. */
function shelf(contract: typeof stock): ReturnType<typeof participantOf> {
  const change: NonNullable<Methods['try']> = (tx, { row }: { row: string }) =>
    tx.query('UPDATE shelf SET n = n + 1 WHERE row_id = ?', [row]);
  return participantOf(library, contract, { try: change });
}

async function start(app: AppName, options: Partial<LittleOptions> = {}): Promise<LittleApp> {
  const core = { lockWaitSeconds: 20, workPoolSize: 12, leaseMs: 2_000 };
  const started = await LittleApp.start({ sandbox, library, app, core, ...options });
  running.push(started);
  return started;
}

const rowOf = async (gid: string) =>
  (
    await sql<{ state: string; attempts: number }>(
      sandbox,
      'payment',
      'SELECT state, attempts FROM dtx_tcc WHERE id = ?',
      [gid],
    )
  )[0]!;

const locked = (app: AppName) => statementsNow(sandbox, app, 'UPDATE shelf %');
const flood = (app: LittleApp, contract: typeof stock, name: string) =>
  Array.from({ length: FLOOD }, (_, n) =>
    app.tcc.run({ gid: `${name}-${n}`, timeoutMs: 60_000 }, (t) => t.call(contract, { row: 'held' })),
  );

describe('a locked row at a participant', () => {
  const times = { timeoutMs: 60_000, callTimeoutMs: 5_000, secondPhaseWaitMs: 15_000, prefetch: PREFETCH };

  test('leaves the Confirm of another transaction its place although Tries take every place', async () => {
    let release: () => void = () => {};
    const released = new Promise<void>((resolve) => (release = resolve));
    const slow = library.decorators.defineParticipant({ name: 'payment.slow', version: 1, args });
    const providers = [participantOf(library, slow, { try: () => released })];
    const initiator = await start('payment', { participates: times, providers });
    await start('inventory', { participates: times, providers: [shelf(stock)] });
    const gid = 'confirm-behind-tries';
    const outcome = initiator.tcc.run({ gid }, (t) => {
      t.call(stock, { row: 'free' });
      t.call(slow, { row: '' });
    });
    const tried = () => sql(sandbox, 'inventory', 'SELECT 1 FROM dtx_tcc_barrier WHERE gid = ?', [gid]);
    await until('its Try is done', async () => (await tried()).length === 1);
    await hold('inventory', 'held');
    const others = flood(initiator, stock, 'tries');
    await until('the Tries take every place', async () => (await locked('inventory')) >= PREFETCH);
    release();
    // The lock is still held, and would be for longer than the caller waits.
    expect(await outcome).toMatchObject({ status: 'CONFIRMED', waitingFor: [] });
    await holder.query('ROLLBACK');
    await Promise.all(others);
  });

  test('delays the Confirm that needs it and costs no attempt', async () => {
    let confirms = 0;
    const confirm: NonNullable<Methods['confirm']> = (tx) => {
      confirms += 1;
      return tx.query(`UPDATE shelf SET n = n + 1 WHERE row_id = 'second'`);
    };
    const participates = { ...times, callTimeoutMs: 1_500, secondPhaseWaitMs: 100, attemptsMax: 2, backoff: BACKOFF };
    const initiator = await start('payment', { participates });
    await start('inventory', { participates, providers: [participantOf(library, stock, { confirm })] });
    await hold('inventory', 'second');
    const gid = 'locked-confirm';
    const outcome = await initiator.tcc.run({ gid }, (t) => t.call(stock, { row: 'free' }));
    expect(outcome).toMatchObject({ status: 'CONFIRMED', waitingFor: ['inventory.stock'] });
    await until('the Confirm has failed twice as often as attempts are allowed', () => confirms >= 4);
    expect(await rowOf(gid)).toMatchObject({ state: 'CONFIRMING', attempts: 0 });
    await holder.query('ROLLBACK');
    await until('it is confirmed', async () => (await rowOf(gid)).state === 'CONFIRMED');
  });
});

describe('a locked row at a participant in the process of its initiator', () => {
  const participates = { timeoutMs: 15_000, secondPhaseWaitMs: 15_000, prefetch: PREFETCH };

  test('takes as many connections as the participant has places, and other calls are served meanwhile', async () => {
    const other = library.decorators.defineParticipant({ name: 'payment.other', version: 1, args });
    const app = await start('payment', { participates, providers: [shelf(own), shelf(other)] });
    await hold('payment', 'held');
    const others = flood(app, own, 'local');
    await until('the Tries take every place', async () => (await locked('payment')) >= PREFETCH);
    const outcomes = await Promise.all(
      Array.from({ length: 5 }, (_, n) => app.tcc.run({ gid: `free-${n}` }, (t) => t.call(other, { row: 'free' }))),
    );
    expect(outcomes.map(({ status }) => status)).toEqual(Array(5).fill('CONFIRMED'));
    // The server has other databases, whose transactions wait for locks now and then.
    await until('no more than its places are taken', async () => (await locked('payment')) === PREFETCH);
    await holder.query('ROLLBACK');
    await Promise.all(others);
  });

  test('that the registration needs ends it after the time limit, and nothing is begun', async () => {
    const app = await start('payment', { participates, providers: [shelf(own)] });
    await hold('payment', 'held');
    const within = async (tx: { query(sql: string): Promise<unknown> }) => {
      await tx.query(`UPDATE shelf SET n = n + 100 WHERE row_id = 'held'`);
    };
    const run = app.tcc.run({ gid: 'late', timeoutMs: 2_000, within }, (t) => t.call(own, { row: 'free' }));
    await expect(run).rejects.toThrow('was not registered within 2000 ms');
    await holder.query('ROLLBACK');
    await until('no transaction is open', async () => (await locked('payment')) === 0);
    await app.close();
    running = [];
    expect(await rowOf('late')).toBeUndefined();
    const [{ n }] = (await sql<{ n: number }>(sandbox, 'payment', `SELECT n FROM shelf WHERE row_id = 'held'`)) as [
      { n: number },
    ];
    expect(n).toBeLessThan(100);
  });
});
