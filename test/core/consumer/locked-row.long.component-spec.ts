import { randomUUID } from 'node:crypto';
import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { statementsNow } from '../../fixtures/running-statements.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

const library = libraryOf();
const contract = contractOf(library, 'take');
const LOCKED = 60;
const FREE = 10;
/** With all places at this wait, the messages behind the locked row would stand for more than a minute. */
const CORE = { prefetch: 8, lockWaitSeconds: 10, leaseMs: 15_000 };
let sandbox: Sandbox;
let service: LittleService;

beforeAll(async () => {
  sandbox = await freshSandbox('locked_row', { audited: false });
  await sql(sandbox, 'payment', 'CREATE TABLE shelf (sku VARCHAR(64) PRIMARY KEY, taken INT NOT NULL) ENGINE=InnoDB');
  await sql(sandbox, 'payment', `INSERT INTO shelf VALUES ('book', 0), ('mug', 0)`);
  const take = async (tx: { query(sql: string, values: unknown[]): Promise<unknown> }, { text }: { text: string }) =>
    tx.query('UPDATE shelf SET taken = taken + 1 WHERE sku = ?', [text]);
  const controllers = [controllerOf([[library.OnMessage(contract), take]])];
  service = await LittleService.start({ sandbox, library, controllers, core: CORE });
});

afterAll(() => service?.close());

async function send(sku: string, count: number): Promise<void> {
  await service.source.transaction(async (tx) => {
    for (let n = 0; n < count; n++)
      await service.get(library.LocalMessages).append(tx, contract, { gid: `${sku}-${randomUUID()}`, text: sku });
  });
}

const taken = async (sku: string) =>
  (await sql<{ taken: number }>(sandbox, 'payment', 'SELECT taken FROM shelf WHERE sku = ?', [sku]))[0]!.taken;
const inbox = (where: string) =>
  sql<{ attempts: number }>(sandbox, 'payment', `SELECT attempts FROM dtx_inbox WHERE ${where}`);

test('deliveries that wait for a locked row leave places to the ones behind them and use up no attempt', async () => {
  const holder = await createConnection({ uri: sandbox.databases.payment });
  try {
    await holder.query('START TRANSACTION');
    await holder.query(`SELECT * FROM shelf WHERE sku = 'book' FOR UPDATE`);
    await send('book', LOCKED);
    // All of them at one moment are rarely seen: most waits last a second.
    await until('deliveries of the locked row wait', async () => (await waiting()) >= CORE.prefetch / 2);
    await send('mug', FREE);
    await until('the mugs are taken', async () => (await taken('mug')) === FREE, { withinMs: 35_000 });
    expect(await inbox(`gid LIKE 'book-%' AND state = 'HANDLED'`)).toEqual([]);
    await holder.query('ROLLBACK');
    await until('the books are taken', async () => (await taken('book')) === LOCKED, { withinMs: 90_000 });
  } finally {
    await holder.end();
  }
  const rows = await inbox(`gid LIKE 'book-%' AND state = 'HANDLED'`);
  expect(rows.map(({ attempts }) => Number(attempts))).toEqual(Array(LOCKED).fill(0));
});

const waiting = () => statementsNow(sandbox, 'payment', `UPDATE shelf %'book'`);
