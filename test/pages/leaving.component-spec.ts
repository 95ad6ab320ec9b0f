import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { DataSource } from 'typeorm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { durableTables } from '../../libs/dtx/src/testing/index.js';
import { queueState } from '../fixtures/broker-queues.js';
import { contractOf, controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { codeOf, statementsOf } from './page-code.js';

/** The steps of docs/leaving.md, in their order. */
const [openCounts, dropTables] = codeOf('leaving.md', 'sql').map(statementsOf) as [string[], string[]];
const [listQueues, deleteQueues] = codeOf('leaving.md', 'sh') as [string, string];
const library = libraryOf();
const contract = contractOf(library, 'message');
let sandbox: Sandbox;
let service: LittleService | undefined;
let isBroken = true;

beforeAll(async () => {
  sandbox = await freshSandbox('leaving', { audited: false });
  await sql(sandbox, 'payment', 'CREATE TABLE invoice (id INT PRIMARY KEY)');
  await sql(sandbox, 'payment', 'INSERT INTO invoice VALUES (7)');
  const on = () => {
    if (isBroken) throw new Error('the handler fails for now');
  };
  const controllers = [controllerOf([[library.OnMessage(contract), on]])];
  service = await LittleService.start({ sandbox, library, controllers, core: { inbox: { attemptsMax: 1_000 } } });
});

afterAll(() => service?.close());

const tables = async () => {
  const rows = await sql(sandbox, 'payment', 'SHOW TABLES');
  return rows.map((row) => String(Object.values(row)[0]));
};

/** The open rows by table, as the lines of the page for the tables of this service count them. */
async function counts(): Promise<Record<string, number>> {
  const existing = await tables();
  const found: Record<string, number> = {};
  for (const query of openCounts) {
    const [, table] = /FROM (\w+)/.exec(query)!;
    if (!existing.includes(table!)) continue;
    const [row] = await sql<{ open: number }>(sandbox, 'payment', query);
    found[table!] = Number(row!.open);
  }
  return found;
}

async function shell(code: string): Promise<string> {
  const { username, password } = new URL(sandbox.management);
  const env = {
    ...process.env,
    RABBITMQ_LOGIN: `${decodeURIComponent(username)}:${decodeURIComponent(password)}`,
    RABBITMQ_API: `${new URL(sandbox.management).origin}/api`,
    VHOST: encodeURIComponent(sandbox.vhost),
    APP: 'payment',
  };
  return (await promisify(execFile)('sh', ['-c', code], { env, timeout: 60_000 })).stdout;
}

test('step 2: the page has a line for each table with open states', () => {
  const named = openCounts.map((query) => /FROM (\w+)/.exec(query)![1]!);
  expect(named.toSorted()).toEqual(durableTables.map(({ name }) => name).toSorted());
});

test('step 2: the counts see an open message at sender and receiver, and are 0 when all is settled', async () => {
  await service!.source.transaction((tx) => service!.get(library.LocalMessages).append(tx, contract, { gid: 'last' }));
  await until('the failed delivery is open', async () => (await counts()).dtx_inbox === 1);
  isBroken = false;
  await until('nothing is open', async () => Object.values(await counts()).every((open) => open === 0));
});

test('step 3: the list shows the queues of the app without messages', async () => {
  const queues = await until('the list has the messages of each queue', async () => {
    const listed = JSON.parse(await shell(listQueues)) as Array<{ name: string; messages?: number }>;
    return listed.every(({ messages }) => messages === 0) && listed;
  });
  expect(queues.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['dtx.payment.receipts.v1.quorum', 'dtx.payment.message.v1.quorum']),
  );
});

test('steps 4 to 6: queues and tables are removed, and the service goes on with its own table', async () => {
  await service!.close();
  service = undefined;
  await shell(deleteQueues);
  for (const queue of ['dtx.payment.receipts.v1', 'dtx.payment--half.receipts.v1', 'dtx.payment.message.v1'])
    expect(await queueState(sandbox, queue)).toBeNull();
  const drops = await sql<{ statement: string }>(sandbox, 'payment', dropTables[0]!);
  expect(drops.length).toBeGreaterThan(5);
  for (const { statement } of drops) await sql(sandbox, 'payment', statement);
  expect(await tables()).toEqual(['invoice']);
  const plain = await new DataSource({ type: 'mysql', url: sandbox.databases.payment }).initialize();
  expect(await plain.query('SELECT id FROM invoice')).toEqual([{ id: 7 }]);
  await plain.destroy();
});
