// D5: the cancel and the handler of the same message, at the same moment. Exactly one of the two takes effect, and the
// answer of the cancel says which. The control has the same race with a cancel that takes no place in the inbox.
import { setTimeout as sleep } from 'node:timers/promises';
import type { EntityManager } from 'typeorm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
const RACES = 1_000;
const NAIVE_RACES = 200;
const AT_ONCE = 20;
const expiry = contractOf(library, 'expiry');
const slow = contractOf(library, 'slow');
const failing = contractOf(library, 'failing');
const { schema, gid } = expiry;
const twice = library.defineMessage({
  name: 'test.twice',
  version: 1,
  schema,
  gid,
  consumers: ['payment.first', 'payment.second'],
});
let sandbox: Sandbox;
let service: LittleService;
const held = new Set<string>();
const failed: string[] = [];

const expire = async (tx: EntityManager, { gid }: { gid: string }) =>
  void (await tx.query('INSERT INTO race_expired (id) VALUES (?)', [gid]));
async function fail(_tx: EntityManager, { gid }: { gid: string }) {
  failed.push(gid);
  throw new Error('not yet');
}
async function hold(tx: EntityManager, { gid }: { gid: string }) {
  held.add(gid);
  await until(`${gid} may end`, () => !held.has(gid));
  await expire(tx, { gid });
}

beforeAll(async () => {
  sandbox = await freshSandbox('withdrawal_races', { audited: false });
  await sql(sandbox, 'payment', 'CREATE TABLE race_paid (id VARCHAR(64) PRIMARY KEY)');
  await sql(sandbox, 'payment', 'CREATE TABLE race_expired (id VARCHAR(64) PRIMARY KEY)');
  service = await LittleService.start({
    sandbox,
    library,
    controllers: [
      controllerOf([
        [library.OnMessage(expiry), expire],
        [library.OnMessage(slow), hold],
        [library.OnMessage(failing), fail],
        [library.OnMessage(twice, { consumer: 'payment.first' }), expire],
      ]),
    ],
    source: { extra: { connectionLimit: AT_ONCE } } as never,
    core: { inbox: { attemptsMax: 1_000, backoff: { firstMs: 60_000, factor: 1, capMs: 60_000 } } },
  });
});
afterAll(() => service?.close());

const messages = () => service.get(library.LocalMessages);
const append = (contract: typeof expiry, gid: string, dueInMs: number) =>
  service.source.transaction((tx) => messages().append(tx, contract, { gid }, { dueInMs, name: gid }));
const isIn = async (table: string, gid: string) =>
  (await sql(sandbox, 'payment', `SELECT id FROM ${table} WHERE id = ?`, [gid])).length > 0;

/** Cancels the expiry and pays in one transaction. */
const pay = (contract: typeof expiry, gid: string) =>
  library.inTransaction(service.source, async (tx) => {
    const answer = await messages().cancel(tx, contract, { name: gid });
    if (answer === 'CANCELLED') await tx.query('INSERT INTO race_paid (id) VALUES (?)', [gid]);
    return answer;
  });

/** What a shop without `cancel` does: it ends the row, wherever the message is on its way. */
const payNaively = (gid: string) =>
  library.inTransaction(service.source, async (tx) => {
    const ended = await tx.query(`UPDATE dtx_outbox SET state = 'CANCELLED' WHERE gid = ? AND state <> 'DONE'`, [gid]);
    if (ended.affectedRows === 1) await tx.query('INSERT INTO race_paid (id) VALUES (?)', [gid]);
  });

/** How long the expiries of all racers take together, in milliseconds. */
async function timeOfExpiry(prefix: string): Promise<number> {
  const from = performance.now();
  await Promise.all(Array.from({ length: AT_ONCE }, (_, n) => append(expiry, `${prefix}-${n}`, 2 * n)));
  await until('all expire', async () => (await endsOf(prefix)).expired.size === AT_ONCE, { everyMs: 5 });
  return performance.now() - from;
}

/** Each payment comes at about the time when its expiry is handled, on a machine of any speed. Returns the results of `payOf`. */
async function race<T>(prefix: string, races: number, payOf: (gid: string) => Promise<T>): Promise<Map<string, T>> {
  const answers = new Map<string, T>();
  await timeOfExpiry(`${prefix}_cold`);
  const spread = 1.5 * (await timeOfExpiry(`${prefix}_warm`));
  let next = 0;
  const racer = async () => {
    for (let n = next++; n < races; n = next++) {
      const gid = `${prefix}-${n}`;
      await append(expiry, gid, n % 40);
      await sleep(Math.random() * spread);
      answers.set(gid, await payOf(gid));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, racer));
  return answers;
}

async function endsOf(prefix: string): Promise<{ paid: Set<string>; expired: Set<string>; both: string[] }> {
  const idsOf = async (table: string) => {
    const query = `SELECT id FROM ${table} WHERE id LIKE ?`;
    return new Set((await sql<{ id: string }>(sandbox, 'payment', query, [`${prefix}-%`])).map(({ id }) => id));
  };
  const [paid, expired] = [await idsOf('race_paid'), await idsOf('race_expired')];
  return { paid, expired, both: [...paid].filter((gid) => expired.has(gid)) };
}

test('D5, control: without a place in the inbox some are paid and expired', async () => {
  await race('naive', NAIVE_RACES, payNaively);
  await until('one is paid and expired', async () => (await endsOf('naive')).both.length > 0);
});

test('D5: 1,000 races of a payment against its expiry: paid or expired, never both, and the answer says which', async () => {
  const answers = await race('race', RACES, (gid) => pay(expiry, gid));
  await until('every race is over', async () => {
    const { paid, expired } = await endsOf('race');
    return paid.size + expired.size >= RACES;
  });
  const { paid, expired } = await endsOf('race');
  for (const [gid, answer] of answers) {
    expect([gid, paid.has(gid), expired.has(gid)]).toEqual([gid, answer === 'CANCELLED', answer === 'HANDLED']);
  }
  expect(paid.size).toBeGreaterThan(0);
  expect(expired.size).toBeGreaterThan(0);
  // Each answer is kept.
  for (const [gid, answer] of [...answers].slice(0, 100)) expect(await pay2(gid)).toBe(answer);
}, 120_000);

/** The cancel alone, once more. */
const pay2 = (gid: string) => service.source.transaction((tx) => messages().cancel(tx, expiry, { name: gid }));

test('a cancel waits for a handler that has begun, and then says HANDLED', async () => {
  await append(slow, 'slow', 0);
  await until('the handler runs', () => held.has('slow'));
  const answer = pay(slow, 'slow');
  await until('the cancel waits for the row', async () => {
    const query = `SELECT COUNT(*) AS n FROM information_schema.processlist WHERE info LIKE 'INSERT INTO%dtx_inbox%'`;
    return (await sql<{ n: number }>(sandbox, 'payment', query))[0]!.n > 0;
  });
  held.clear();
  expect(await answer).toBe('HANDLED');
  expect(await isIn('race_expired', 'slow')).toBe(true);
  expect(await isIn('race_paid', 'slow')).toBe(false);
});

test('a cancel that waits longer than the lock wait of its session is unknown, and changes nothing', async () => {
  await append(slow, 'too-slow', 0);
  await until('the handler runs', () => held.has('too-slow'));
  await expect(
    service.source.transaction(async (tx) => {
      await tx.query('SET innodb_lock_wait_timeout = 1');
      try {
        await messages().cancel(tx, slow, { name: 'too-slow' });
      } finally {
        await tx.query('SET innodb_lock_wait_timeout = DEFAULT');
      }
    }),
  ).rejects.toThrow(library.OutcomeUnknown);
  held.clear();
  expect(await pay(slow, 'too-slow')).toBe('HANDLED');
});

test('a delivery that waits for its next attempt can still be withdrawn', async () => {
  await append(failing, 'failing', 0);
  const state = async () =>
    (await sql<{ state: string }>(sandbox, 'payment', `SELECT state FROM dtx_inbox WHERE gid = 'failing'`))[0]?.state;
  await until('its first attempt has failed', async () => (await state()) === 'RETRYING');
  expect(await pay(failing, 'failing')).toBe('CANCELLED');
  expect(await state()).toBe('HANDLED');
  expect(failed).toHaveLength(1);
  expect(await pay2('failing')).toBe('NOT_FOUND');
});

test('of two consumers one has handled the message, so the cancel takes the place of none', async () => {
  await append(twice, 'twice', 0);
  await until('the first consumer has handled it', () => isIn('race_expired', 'twice'));
  expect(await pay(twice, 'twice')).toBe('HANDLED');
  const rows = await sql(sandbox, 'payment', `SELECT consumer, state FROM dtx_inbox WHERE gid = 'twice'`);
  expect(rows).toEqual([{ consumer: 'payment.first', state: 'HANDLED' }]);
});
