import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { SqlProxy } from '../../tools/src/commands/bench/sql-packets.js';
import { contractOf, controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
const plain = contractOf(library, 'cost-plain');
const MESSAGES = 20;
const handled = new Set<string>();
let sandbox: Sandbox;
let proxy: SqlProxy;
let service: LittleService;
/** The shapes of the statements since the start that name a table of messages with a key. */
const seen: string[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('order_cost', { audited: false });
  proxy = await SqlProxy.start(sandbox.databases.payment);
  const consume = async (_tx: unknown, message: { gid: string }) => void handled.add(message.gid);
  service = await LittleService.start({
    sandbox,
    library,
    url: proxy.url,
    controllers: [controllerOf([[library.OnMessage(plain), consume]])],
  });
  proxy.onAnswer = (shape) => shape.includes('dtx_keyed') && seen.push(shape);
});

afterAll(async () => {
  await service?.close();
  await proxy?.close();
});

/** The statements of one transaction with one message, without those of its begin and end. */
async function statementsOf(contract: typeof plain, payload: { gid: string }): Promise<number> {
  const runner = service.source.createQueryRunner();
  const questions = async () => Number((await runner.query(`SHOW SESSION STATUS LIKE 'Questions'`))[0].Value);
  await runner.startTransaction();
  const before = await questions();
  await service.get(library.LocalMessages).append(runner.manager, contract, payload);
  const after = await questions();
  await runner.commitTransaction();
  await runner.release();
  return after - before - 1;
}

test('an app without inOrderOf sends no statement about keys, neither for a message nor in its scans', async () => {
  const isAtRest = () => handled.size === MESSAGES;
  for (let n = 0; n < MESSAGES; n++) {
    const gid = `plain-${n}`;
    await service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, plain, { gid }));
  }
  await until('every message is handled', isAtRest);
  await until('every message is DONE', async () => {
    const rows = await sql(sandbox, 'payment', `SELECT id FROM dtx_outbox WHERE state <> 'DONE'`);
    return rows.length === 0;
  });
  // The one look at the start asks whether a former version of the app has left messages.
  expect(seen.filter((shape) => !shape.includes('AS found'))).toEqual([]);
  expect(seen.length).toBeLessThanOrEqual(1);
});

test('the message table has no index and no column for keys', async () => {
  const indexes = await sql<{ name: string }>(
    sandbox,
    'payment',
    `SELECT DISTINCT index_name AS name FROM information_schema.statistics
     WHERE table_schema = DATABASE() AND table_name = 'dtx_outbox' AND column_name IN ('stream_key', 'open_key', 'seq')`,
  );
  expect(indexes).toEqual([]);
});

test('a key costs one statement more in the transaction', async () => {
  const without = await statementsOf(plain, { gid: 'counted' });
  // Defined after the start, so the relay of keys begins with the first message.
  const ordered = library.defineMessage({
    name: 'test.cost-ordered',
    version: 1,
    schema: z.object({ gid: z.string() }),
    consumers: ['payment.cost-ordered'],
    gid: ({ gid }) => gid,
    inOrderOf: { stream: 'cost', key: ({ gid }) => gid },
  });
  expect(await statementsOf(ordered, { gid: 'new-key' })).toBe(without + 1);
  expect(await statementsOf(ordered, { gid: 'new-key' })).toBe(without + 1);
  await until('the first one is sent, and the second one waits', async () => {
    const rows = await sql<{ state: string }>(sandbox, 'payment', 'SELECT state FROM dtx_keyed ORDER BY seq');
    return rows.map(({ state }) => state).join() === 'SENT,WAITING';
  });
});
