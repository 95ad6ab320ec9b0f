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

const contractOf = (name: string, consumers: string[], onParked?: 'pass') =>
  library.defineMessage({
    name: `test.ops-${name}`,
    version: 1,
    schema: z.object({ key: z.string(), n: z.number() }),
    consumers,
    gid: ({ key, n }: Message) => `${key}-${n}`,
    inOrderOf: { stream: `ops-${name}`, key: ({ key }: Message) => key, onParked },
  });

/** Two consumers, each of which fails on what `failing` has. */
const pair = contractOf('pair', ['payment.ops-a', 'payment.ops-b']);
/** Consumers that do not run. */
const absent = contractOf('absent', ['inventory.ops-absent']);
const passing = contractOf('passing', ['inventory.ops-passing'], 'pass');
const failing = new Set<string>();
const handled: string[] = [];

const handlerOf =
  (consumer: string) =>
  async (_tx: unknown, { key, n }: Message) => {
    if (failing.has(`${consumer} ${key} ${n}`)) throw new Error(`${consumer} fails`);
    handled.push(`${consumer} ${key} ${n}`);
  };
const append = (contract: typeof pair, key: string, ...numbers: number[]) =>
  service.source.transaction(async (tx) => {
    for (const n of numbers) await service.get(library.LocalMessages).append(tx, contract, { key, n });
  });

interface Row {
  readonly id: string;
  readonly gid: string;
  readonly state: string;
}
const rowsOf = (key: string) =>
  sql<Row>(sandbox, 'payment', 'SELECT id, gid, state FROM dtx_keyed WHERE stream_key LIKE ? ORDER BY seq', [
    `%:${key}`,
  ]);
const statesOf = async (key: string) => (await rowsOf(key)).map(({ state }) => state);
const untilStates = (key: string, ...states: string[]) =>
  until(`${key} is ${states.join(', ')}`, async () => (await statesOf(key)).join() === states.join());
const alertsOf = (key: string) =>
  sql<{ subject: string; step: string; error: string }>(
    sandbox,
    'payment',
    'SELECT subject_id AS subject, step, alert_error AS error FROM dtx_alert WHERE closed_at IS NULL AND gid LIKE ?',
    [`${key}-%`],
  );
/** An operator acts on a row of any table. */
async function act(action: 'retry' | 'done', id: string): Promise<void> {
  const sources = service.get(library.Operations).sources;
  const operator = { note: 'test' };
  const results = await Promise.all(
    sources.map((one) => (action === 'retry' ? one.retry(id, operator) : one.resolve(id, 'done', operator))),
  );
  expect(results).toContain('done');
}
const viewOf = async (id: string) => {
  const views = await Promise.all(service.get(library.Operations).sources.map((one) => one.get(id)));
  return views.find((view) => view !== null)!;
};

beforeAll(async () => {
  sandbox = await freshSandbox('order_operations', { audited: false });
  const short = { firstMs: 200, factor: 1, capMs: 200 };
  service = await LittleService.start({
    sandbox,
    library,
    controllers: [
      controllerOf([
        [library.OnMessage(pair, { consumer: 'ops-a' }), handlerOf('a')],
        [library.OnMessage(pair, { consumer: 'ops-b' }), handlerOf('b')],
      ]),
    ],
    localMessage: { resend: short, attemptsMax: 2, absentMs: 400 },
    core: { inbox: { attemptsMax: 1, backoff: short } },
  });
});
afterAll(() => service?.close());

describe('a message with two consumers', () => {
  test('is held when the one has handled and the other one has parked it, and the operator of the other one ends it', async () => {
    failing.add('b one 1');
    await append(pair, 'one', 1, 2);
    await untilStates('one', 'HELD', 'WAITING');
    const [alert, ...others] = await alertsOf('one');
    expect(others).toEqual([]);
    expect(alert!.error).toContain('later messages of key ops-pair:one wait for it at the sender');
    const [head] = await rowsOf('one');
    expect(await viewOf(head!.id)).toMatchObject({
      state: 'HELD',
      lastError: 'parked at payment.ops-b',
      details: { inOrderOf: 'ops-pair:one', waitingBehind: 1 },
    });
    failing.clear();
    await act('retry', alert!.subject);
    await untilStates('one', 'DONE', 'DONE');
    expect(handled.filter((one) => one.startsWith('b one'))).toEqual(['b one 1', 'b one 2']);
    expect(await alertsOf('one')).toEqual([]);
  });

  test('has the age of its release, when it has waited for longer than the inbox keeps its rows', async () => {
    failing.add('b old 1');
    await append(pair, 'old', 1, 2, 3);
    await untilStates('old', 'HELD', 'WAITING', 'WAITING');
    await sql(
      sandbox,
      'payment',
      `UPDATE dtx_keyed SET created_at = created_at - INTERVAL 30 DAY WHERE stream_key LIKE '%:old'`,
    );
    failing.clear();
    const [alert] = await alertsOf('old');
    await act('retry', alert!.subject);
    await untilStates('old', 'DONE', 'DONE', 'DONE');
    expect(handled.filter((one) => one.startsWith('a old'))).toEqual(['a old 1', 'a old 2', 'a old 3']);
    expect(await alertsOf('old')).toEqual([]);
    const [, second] = await rowsOf('old');
    const { timeline } = await viewOf(second!.id);
    expect(timeline.map(({ event }) => event)).toContain('released by its predecessor');
  });

  test('is held until both have been retried, when both have parked it', async () => {
    failing.add('a two 1').add('b two 1');
    await append(pair, 'two', 1, 2);
    await untilStates('two', 'HELD', 'WAITING');
    const [first, second] = await alertsOf('two');
    failing.clear();
    await act('retry', first!.subject);
    await until('one has handled it', () => handled.filter((one) => /^. two 1/.test(one)).length === 1);
    await act('done', second!.subject);
    await untilStates('two', 'DONE', 'DONE');
    expect(handled.filter((one) => / two 2/.test(one)).sort()).toEqual(['a two 2', 'b two 2']);
  });

  test('ends after a copy has asked for its outcome, when the receipt of the retry was lost', async () => {
    failing.add('b lost 1');
    await append(pair, 'lost', 1, 2);
    await untilStates('lost', 'HELD', 'WAITING');
    failing.clear();
    const [head] = await rowsOf('lost');
    // The operator has retried it, and the process died after the commit, before the receipt was confirmed.
    const handledThere = `UPDATE dtx_inbox SET state = 'HANDLED', next_attempt_at = NULL WHERE message_id = ? AND state = 'PARKED'`;
    await sql(sandbox, 'payment', handledThere, [head!.id]);
    const comeSooner = `UPDATE dtx_keyed SET next_attempt_at = next_attempt_at - INTERVAL 1 HOUR
      WHERE id = ? AND state = 'HELD' AND claim_token IS NULL`;
    await until('a copy has asked', async () => {
      // More than once: the receipt of an earlier copy may come late, and it puts the next question off.
      await sql(sandbox, 'payment', comeSooner, [head!.id]);
      return (await statesOf('lost')).join() === 'DONE,DONE';
    });
  });

  test('stays held, without an attempt, when a copy finds it still parked', async () => {
    failing.add('b still 1');
    await append(pair, 'still', 1, 2);
    await untilStates('still', 'HELD', 'WAITING');
    const [head] = await rowsOf('still');
    const read = 'SELECT state, attempts, sent_at, next_attempt_at FROM dtx_keyed WHERE id = ?';
    const [before] = await sql(sandbox, 'payment', read, [head!.id]);
    for (let copy = 1; copy <= 3; copy++) {
      const isDue = `UPDATE dtx_keyed SET next_attempt_at = UTC_TIMESTAMP(3) WHERE id = ? AND claim_token IS NULL`;
      await sql(sandbox, 'payment', isDue, [head!.id]);
      await until('the copy was answered', async () => {
        const [row] = await sql<{ left: number }>(
          sandbox,
          'payment',
          'SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(3), next_attempt_at) AS `left` FROM dtx_keyed WHERE id = ? AND claim_token IS NULL',
          [head!.id],
        );
        return row && row.left > 600;
      });
    }
    expect(await statesOf('still')).toEqual(['HELD', 'WAITING']);
    expect((await sql(sandbox, 'payment', read, [head!.id]))[0]).toMatchObject({ attempts: before!.attempts });
    expect(await alertsOf('still')).toHaveLength(1);
    failing.clear();
  });

  test('lets its successors go when an operator resolves it at the sender', async () => {
    failing.add('a three 1');
    await append(pair, 'three', 1, 2);
    await untilStates('three', 'HELD', 'WAITING');
    await act('done', (await rowsOf('three'))[0]!.id);
    await untilStates('three', 'DONE', 'DONE');
    failing.clear();
  });
});

describe('a message without a receipt', () => {
  test('O3, O6: is parked with one alert that says how many wait, and a retry sends it first', async () => {
    await append(absent, 'four', 1, 2, 3);
    await untilStates('four', 'PARKED', 'WAITING', 'WAITING');
    const [head] = await rowsOf('four');
    const alerts = await alertsOf('four');
    expect(alerts).toHaveLength(1);
    expect(alerts[0]).toMatchObject({ subject: head!.id });
    expect(`${alerts[0]!.step} ${alerts[0]!.error}`).toContain('2 later messages of the key wait');
    expect((await viewOf(head!.id)).lastError).toMatch(/; 2 later messages of the key wait$/);
    await act('retry', head!.id);
    await untilStates('four', 'SENT', 'WAITING', 'WAITING');
    await untilStates('four', 'PARKED', 'WAITING', 'WAITING');
    await act('done', head!.id);
    await until('the next one is sent', async () => (await statesOf('four'))[1] !== 'WAITING');
  });

  test('is passed with onParked pass, and a retry does not wait for its successors', async () => {
    await append(passing, 'five', 1, 2);
    await untilStates('five', 'PARKED', 'PARKED');
    await act('retry', (await rowsOf('five'))[0]!.id);
    await until('it is sent again', async () => (await statesOf('five'))[0] === 'SENT');
  });
});
