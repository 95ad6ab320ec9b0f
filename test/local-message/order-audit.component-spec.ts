import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { dtx } from '../schema/dtx-command.js';

const library = libraryOf();
const contract = library.defineMessage({
  name: 'test.audited',
  version: 1,
  schema: z.object({ n: z.number() }),
  consumers: ['payment.audited'],
  gid: ({ n }) => String(n),
  inOrderOf: { stream: 'audited', key: () => 'one' },
});
const handled: number[] = [];
let sandbox: Sandbox;
let service: LittleService | undefined;

async function start(): Promise<LittleService> {
  const handle = async (_tx: unknown, { n }: { n: number }) => void handled.push(n);
  const controllers = [controllerOf([[library.OnMessage(contract), handle]])];
  service = await LittleService.start({ sandbox, library, controllers });
  return service;
}
const isDone = async () => {
  const rows = await sql(sandbox, 'payment', `SELECT id FROM dtx_keyed WHERE state <> 'DONE'`);
  return rows.length === 0;
};

beforeAll(async () => {
  sandbox = await freshSandbox('order_audit', { audited: false });
  const { source, app } = await start();
  for (const n of [1, 2, 3])
    await source.transaction((tx) => app.get(library.LocalMessages).append(tx, contract, { n }));
  await until('each message is DONE', isDone);
  await service!.close();
  service = undefined;
});
afterAll(() => service?.close());

/** What the audit says about the order of keys, while these columns of the second message differ. */
async function violationsWith(change: string): Promise<string[]> {
  await sql(sandbox, 'payment', 'CREATE TABLE kept AS SELECT * FROM dtx_keyed');
  try {
    await sql(sandbox, 'payment', `UPDATE dtx_keyed SET ${change} WHERE gid = '2'`);
    const { checks } = await auditOf(sandbox, 1_000);
    return checks.find(({ name }) => name === 'order of keys')!.violations;
  } finally {
    await sql(sandbox, 'payment', 'DELETE FROM dtx_keyed');
    await sql(sandbox, 'payment', 'INSERT INTO dtx_keyed SELECT * FROM kept');
    await sql(sandbox, 'payment', 'DROP TABLE kept');
  }
}

const OPEN = `open_key = stream_key, done_at = NULL, next_attempt_at = '9999-12-31'`;

test('the audit holds for keys at rest, and for a head that waits for an operator', async () => {
  expect(await violationsWith('gid = gid')).toEqual([]);
  expect(await violationsWith(`${OPEN}, state = 'PARKED'`)).toEqual([]);
});

test.each([
  ['a head that nothing sends', `${OPEN}, state = 'WAITING'`, /is the head and WAITING, so nothing sends it/],
  ['a held head that no receiver has parked', `${OPEN}, state = 'HELD'`, /is HELD, and no receiver has it PARKED/],
  [
    'a parked head that was to be passed',
    `${OPEN}, state = 'PARKED', on_parked = 'pass'`,
    /is PARKED and was not passed/,
  ],
  [
    'a place beyond the last one',
    `${OPEN}, state = 'PARKED', seq = 9`,
    /has a message at place 9, and its last place is 3/,
  ],
])('the audit finds %s', async (_, change, problem) => {
  expect((await violationsWith(change)).join()).toMatch(problem);
});

test('a redrive sends the messages of a key again in their order', async () => {
  handled.length = 0;
  // The receiver has lost its newest rows.
  await sql(sandbox, 'payment', 'DELETE FROM dtx_inbox');
  await start();
  const { code, output } = await dtx(['redrive', '--since', '1h'], sandbox.databases.payment);
  expect({ code, output }).toMatchObject({
    code: 0,
    output: expect.stringContaining('local-message with a key: 3 messages are sent again'),
  });
  await until('they are handled again', () => handled.length >= 3);
  expect(handled).toEqual([1, 2, 3]);
  await until('each message is DONE', isDone);
});
