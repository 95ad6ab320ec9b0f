import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
let sandbox: Sandbox;
let service: LittleService;

interface Message {
  readonly key: string;
  readonly n: number;
}

const schema = z.object({ key: z.string(), n: z.number() });
const order = (onParked: 'wait' | 'pass', stream: string) => ({ stream, key: (m: Message) => m.key, onParked });

function contractOf(name: string, inOrderOf?: ReturnType<typeof order>) {
  const gid = (message: Message) => `${message.key}-${message.n}`;
  return library.defineMessage({
    name: `test.${name}`,
    version: 1,
    schema,
    consumers: [`payment.${name}`],
    gid,
    inOrderOf,
  });
}

const waiting = contractOf('waiting', order('wait', 'waiting'));
const passing = contractOf('passing', order('pass', 'passing'));
const naive = contractOf('naive');
const contracts = { waiting, passing, naive };
type Name = keyof typeof contracts;

/** The handled messages of a key, and how many runs of a message fail before one succeeds. */
const handled: Record<string, number[]> = {};
const failures = new Map<string, number>();

const handlerOf =
  (name: Name) =>
  async (_tx: unknown, { key, n }: Message) => {
    const left = failures.get(`${key}-${n}`) ?? 0;
    failures.set(`${key}-${n}`, left - 1);
    if (left > 0) throw new Error(`${name} ${key} ${n} fails`);
    handled[key] = [...(handled[key] ?? []), n];
  };

const append = (name: Name, key: string, ...numbers: number[]) =>
  service.source.transaction(async (tx) => {
    for (const n of numbers) await service.get(library.LocalMessages).append(tx, contracts[name], { key, n });
  });
const isHandled = (key: string, count: number) =>
  until(`${count} of ${key} are handled`, () => (handled[key]?.length ?? 0) >= count, { everyMs: 10 });

/** The rows of a key in their order, as `gid STATE`. */
async function rowsOf(key: string): Promise<string[]> {
  const rows = await sql<{ gid: string; state: string }>(
    sandbox,
    'payment',
    `SELECT gid, state FROM dtx_keyed WHERE stream_key LIKE ? ORDER BY seq`,
    [`%:${key}`],
  );
  return rows.map(({ gid, state }) => `${gid} ${state}`);
}
const openAlerts = (of: string) =>
  sql<{ subject_id: string; alert_error: string }>(
    sandbox,
    'payment',
    'SELECT subject_id, alert_error FROM dtx_alert WHERE closed_at IS NULL AND gid LIKE ?',
    [`${of}%`],
  );

beforeAll(async () => {
  sandbox = await freshSandbox('order_per_key', { audited: false });
  service = await LittleService.start({
    sandbox,
    library,
    controllers: [
      controllerOf(
        (Object.keys(contracts) as Name[]).map((name) => [library.OnMessage(contracts[name]), handlerOf(name)]),
      ),
    ],
    core: { inbox: { attemptsMax: 3, backoff: { firstMs: 200, factor: 1, capMs: 200 } } },
  });
});
afterAll(() => service?.close());

test('without a key a message overtakes one whose handler fails (control)', async () => {
  failures.set('control-1', 1);
  await append('naive', 'control', 1, 2, 3);
  await isHandled('control', 3);
  expect(handled.control).not.toEqual([1, 2, 3]);
});

describe('with a key', () => {
  test('O2: a message waits for the retry of its predecessor, and other keys do not', async () => {
    failures.set('a-1', 2);
    await append('waiting', 'a', 1, 2, 3);
    await append('waiting', 'b', 1);
    await isHandled('b', 1);
    expect(handled.a ?? []).toEqual([]);
    await isHandled('a', 3);
    expect(handled.a).toEqual([1, 2, 3]);
    await until('the key has no open message', async () => (await rowsOf('a')).every((row) => row.endsWith('DONE')));
  });

  test('O1: the order is that of the commits, not of the calls or of the ids', async () => {
    const messages = service.get(library.LocalMessages);
    const runners = [1, 2, 3].map(() => service.source.createQueryRunner());
    const [first, second, gate] = runners as [(typeof runners)[0], (typeof runners)[0], (typeof runners)[0]];
    await gate.query(`SELECT GET_LOCK('o1', 60)`);
    await first.startTransaction();
    await second.startTransaction();
    // The append of 1 is called first and makes its id, but its statements wait behind this one.
    const busy = first.manager.query(`SELECT GET_LOCK('o1', 60)`);
    const early = messages.append(first.manager, waiting, { key: 'c', n: 1 });
    // Ids of one millisecond have no order.
    const database = service.get(library.Database);
    const madeAt = database.nowMs();
    await until('a later millisecond', () => database.nowMs() >= madeAt + 2, { everyMs: 1 });
    const lateId = await messages.append(second.manager, waiting, { key: 'c', n: 2 });
    await second.commitTransaction();
    await gate.query(`SELECT RELEASE_LOCK('o1')`);
    await busy;
    const earlyId = await early;
    await first.commitTransaction();
    await first.query(`SELECT RELEASE_LOCK('o1')`);
    await Promise.all(runners.map((one) => one.release()));
    expect(earlyId < lateId).toBe(true);
    await isHandled('c', 2);
    expect(handled.c).toEqual([2, 1]);
  });

  test('O7: a message that is parked at its receiver holds its key with one alert, until an operator retries it', async () => {
    failures.set('d-2', 3);
    await append('waiting', 'd', 1, 2, 3, 4);
    await append('waiting', 'e', 1, 2);
    await isHandled('e', 2);
    await until('the head is held', async () => (await rowsOf('d'))[1] === 'd-2 HELD');
    expect(await rowsOf('d')).toEqual(['d-1 DONE', 'd-2 HELD', 'd-3 WAITING', 'd-4 WAITING']);
    expect(handled.d).toEqual([1]);
    const alerts = await openAlerts('d-');
    expect(alerts).toHaveLength(1);
    const source = service.get(library.Operations).sources;
    const retried = await Promise.all(source.map((one) => one.retry(alerts[0]!.subject_id, {})));
    expect(retried).toContain('done');
    await isHandled('d', 4);
    expect(handled.d).toEqual([1, 2, 3, 4]);
    await until('the key has no open message', async () => (await rowsOf('d')).every((row) => row.endsWith('DONE')));
    expect(await openAlerts('d-')).toEqual([]);
  });

  test('with onParked pass the successors of a parked message go on', async () => {
    failures.set('f-1', 3);
    await append('passing', 'f', 1, 2, 3);
    await isHandled('f', 2);
    expect(handled.f).toEqual([2, 3]);
    expect(await openAlerts('f-')).toHaveLength(1);
  });

  test('a key whose process died between a COMMIT and its look is found by the search', async () => {
    failures.set('g-1', 2);
    await append('waiting', 'g', 1, 2);
    await until('the second one waits', async () => (await rowsOf('g'))[1] === 'g-2 WAITING');
    // As after a receipt at an instance that died before it looked.
    await sql(
      sandbox,
      'payment',
      `UPDATE dtx_keyed SET state = 'DONE', open_key = NULL, next_attempt_at = NULL WHERE gid = 'g-1'`,
    );
    await isHandled('g', 1);
    await isHandled('g', 2);
  });

  test('a message that was rolled back holds no place', async () => {
    await expect(
      service.source.transaction(async (tx) => {
        await service.get(library.LocalMessages).append(tx, waiting, { key: 'h', n: 1 });
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    await append('waiting', 'h', 2);
    await isHandled('h', 1);
    expect(handled.h).toEqual([2]);
  });

  test('O8: a delay is refused, since the later messages of the key would wait', async () => {
    const delayed = service.source.transaction((tx) =>
      service.get(library.LocalMessages).append(tx, waiting, { key: 'later', n: 1 }, { dueInMs: 1_000 }),
    );
    await expect(delayed).rejects.toThrow(/cannot append test.waiting v1 with a delay: contract has inOrderOf/);
    expect(await rowsOf('later')).toEqual([]);
  });

  test('an invalid key is refused by append', async () => {
    await expect(append('waiting', 'with blank', 1)).rejects.toThrow(
      /inOrderOf.key returned "with blank"; expected 1 to 100/,
    );
    await expect(append('waiting', '', 1)).rejects.toThrow(/expected 1 to 100 printable ASCII/);
    await expect(append('waiting', 'x'.repeat(101), 1)).rejects.toThrow(/expected 1 to 100 printable ASCII/);
  });
});
