import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import type { Contract } from '../../libs/dtx/src/index.js';
import { messagesIn } from '../fixtures/broker-queues.js';
import { controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { type AppName, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { dtx } from '../schema/dtx-command.js';

const library = libraryOf();
const schema = z.object({ gid: z.string() });
type Payload = z.output<typeof schema>;
const define = (name: string, more: object): Contract<Payload> =>
  library.defineMessage({
    name: `test.${name}`,
    version: 1,
    schema,
    gid: ({ gid }: Payload) => gid,
    ...more,
  } as never) as never;

const placed = define('placed', { consumers: ['payment.placed', 'inventory.placed'] });
const sold = define('sold', { consumers: ['payment.sold', 'inventory.sold'], replicated: true });
/** Its receiver is another program, played by a consumer of the library whose effects are counted. */
const foreign = define('foreign', { consumers: ['payment.foreign'], receipts: false });

const RECEIVERS: readonly AppName[] = ['payment', 'inventory'];
let sandbox: Sandbox;
let sender: LittleService;
const services: LittleService[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('redrive', { audited: false });
  for (const app of RECEIVERS) {
    await sql(sandbox, app, 'CREATE TABLE effect (gid VARCHAR(64) NOT NULL, KEY (gid))');
    const handle = async (tx: { query(text: string, values: unknown[]): Promise<unknown> }, { gid }: Payload) =>
      tx.query('INSERT INTO effect (gid) VALUES (?)', [gid]);
    const served = [placed, sold, ...(app === 'payment' ? [foreign] : [])];
    const controller = controllerOf(served.map((one) => [library.OnMessage(one), handle] as const));
    services.push(await LittleService.start({ sandbox, library, app, controllers: [controller] }));
  }
  sender = await LittleService.start({ sandbox, library, app: 'order' });
  services.push(sender);
});

afterAll(async () => {
  for (const service of services) await service.close();
});

const append = (contract: Contract<Payload>, gid: string) =>
  sender.source.transaction((tx) => sender.get(library.LocalMessages).append(tx, contract, { gid }));
const isDone = async (table: string, gids: readonly string[]) => {
  const rows = await sql(sandbox, 'order', `SELECT id FROM ${table} WHERE gid IN (?) AND state = 'DONE'`, [gids]);
  return rows.length === gids.length;
};
const untilDone = (table: string, gids: readonly string[]) =>
  until(`${gids} are DONE in ${table}`, () => isDone(table, gids));
const effects = async (app: AppName, gids: readonly string[]): Promise<number[]> => {
  const rows = await sql<{ gid: string }>(sandbox, app, 'SELECT gid FROM effect WHERE gid IN (?)', [gids]);
  return gids.map((gid) => rows.filter((row) => row.gid === gid).length);
};
const nowOfSender = async () => {
  const [row] = await sql<{ now: string }>(
    sandbox,
    'order',
    `SELECT DATE_FORMAT(UTC_TIMESTAMP(3), '%Y-%m-%dT%H:%i:%s.%fZ') AS now`,
  );
  return row!.now;
};
const redrive = (...more: string[]) => dtx(['redrive', ...more], sandbox.databases.order);

/** A promoted replica that lagged: the newest rows of the receiver are gone, its inbox too. */
async function loseTail(app: AppName, gids: readonly string[]): Promise<void> {
  await sql(sandbox, app, 'DELETE FROM effect WHERE gid IN (?)', [gids]);
  await sql(sandbox, app, 'DELETE FROM dtx_inbox WHERE gid IN (?)', [gids]);
}

test('a redrive brings back the effects that one receiver has lost, and the others handle nothing twice', async () => {
  const kept = ['k1', 'k2'];
  const lost = ['l1', 'l2', 'l3'];
  for (const gid of kept) await append(placed, gid);
  await untilDone('dtx_outbox', kept);
  const since = await nowOfSender();
  for (const gid of lost) await append(placed, gid);
  await untilDone('dtx_outbox', lost);
  const failover = await nowOfSender();
  await loseTail('payment', lost);

  // Control: the sender has nothing left to send, so later messages pass and the lost effects stay lost.
  await append(placed, 'later');
  await untilDone('dtx_outbox', ['later']);
  expect(await effects('payment', lost)).toEqual([0, 0, 0]);

  const window = ['--since', since, '--until', failover];
  expect(await redrive(...window, '--dry-run')).toMatchObject({
    code: 0,
    output: expect.stringContaining('3 test.placed v1 to payment.placed,inventory.placed'),
  });
  expect(await isDone('dtx_outbox', lost)).toBe(true);
  const { code, output } = await redrive(...window, '--operator', 'alice');
  expect(output).toContain('local-message: 3 messages are sent again');
  expect(code).toBe(0);
  await until('the effects are back', async () => !(await effects('payment', lost)).includes(0));
  await untilDone('dtx_outbox', lost);
  expect(await effects('payment', [...kept, ...lost, 'later'])).toEqual([1, 1, 1, 1, 1, 1]);
  expect(await effects('inventory', [...kept, ...lost, 'later'])).toEqual([1, 1, 1, 1, 1, 1]);
  const records = await sql(
    sandbox,
    'order',
    `SELECT id FROM dtx_operation WHERE action = 'redrive' AND operator = 'alice'`,
  );
  expect(records).toHaveLength(3);

  // They are DONE after the window now.
  expect((await redrive(...window)).output).toContain('local-message: 0 messages are sent again');
});

test('without the inbox rows a redrive doubles the effects, so the inbox is the guard', async () => {
  const since = await nowOfSender();
  await append(placed, 'doubled');
  await untilDone('dtx_outbox', ['doubled']);
  await sql(sandbox, 'inventory', `DELETE FROM dtx_inbox WHERE gid = 'doubled'`);
  await redrive('--since', since);
  await until('it is handled again', async () => (await effects('inventory', ['doubled']))[0] === 2);
  expect(await effects('payment', ['doubled'])).toEqual([1]);
});

test('half messages are sent again to the consumer that is named', async () => {
  const since = await nowOfSender();
  await sender.get(library.HalfMessages).send(sold, { gid: 'half' }, async () => {});
  await untilDone('dtx_half', ['half']);
  await loseTail('payment', ['half']);
  await loseTail('inventory', ['half']);
  const { output } = await redrive('--since', since, '--consumer', 'inventory.sold');
  expect(output).toMatch(/half-message: 1 messages are sent again\n {2}1 test\.sold v1 to inventory\.sold/);
  await until('the effect is back', async () => (await effects('inventory', ['half']))[0] === 1);
  await untilDone('dtx_half', ['half']);
  expect(await effects('payment', ['half'])).toEqual([0]);
});

test('a check that comes after a redrive sends to the consumer that was named only', async () => {
  await sender.get(library.HalfMessages).send(sold, { gid: 'checked' }, async () => {});
  await untilDone('dtx_half', ['checked']);
  // Its own prepared message has expired, and a late mark of SENT is written.
  await until('no check is to come', async () => (await messagesIn(sandbox, 'dtx.order.half-wait.1000ms.v1')) === 0);
  await loseTail('payment', ['checked']);
  await loseTail('inventory', ['checked']);
  // As the redrive leaves it. The sweeper is not due, so only the check sends.
  await sql(
    sandbox,
    'order',
    `UPDATE dtx_half SET state = 'COMMITTED', awaiting = ',inventory.sold,', sent_at = NULL, done_at = NULL,
       next_attempt_at = UTC_TIMESTAMP(3) + INTERVAL 1 HOUR WHERE gid = 'checked'`,
  );
  const columns = 'id, gid, contract, version, payload, consumers, traceparent';
  const [message] = await sql(sandbox, 'order', `SELECT ${columns} FROM dtx_half WHERE gid = 'checked'`);
  const probe = await QueueProbe.open(sandbox);
  onTestFinished(() => probe.close());
  await probe.publish('dtx.order.half-check.v1', JSON.stringify({ checks: 0, message }));
  await until('the effect is back', async () => (await effects('inventory', ['checked']))[0] === 1);
  await untilDone('dtx_half', ['checked']);
  expect(await effects('payment', ['checked'])).toEqual([0]);
});

test('messages without receipts are sent again only on demand', async () => {
  const since = await nowOfSender();
  await append(foreign, 'foreign');
  await untilDone('dtx_outbox', ['foreign']);
  await until('it is handled', async () => (await effects('payment', ['foreign']))[0] === 1);
  const window = ['--since', since, '--contract', 'test.foreign'];
  expect((await redrive(...window)).output).toMatch(/left out: 1 whose contract has receipts: false/);
  await loseTail('payment', ['foreign']);
  expect((await redrive(...window, '--without-receipts')).output).toContain('1 test.foreign v1 to payment.foreign');
  await until('it is handled again', async () => (await effects('payment', ['foreign']))[0] === 1);
});

test('a row of an earlier version is sent again to the consumer that is named', async () => {
  const since = await nowOfSender();
  const id = await append(placed, 'earlier');
  await untilDone('dtx_outbox', ['earlier']);
  await sql(sandbox, 'order', 'UPDATE dtx_outbox SET consumers = NULL WHERE id = ?', [id]);
  await loseTail('payment', ['earlier']);
  expect((await redrive('--since', since)).output).toMatch(/left out: 1 of an earlier version/);
  await redrive('--since', since, '--contract', 'test.placed', '--consumer', 'payment.placed');
  await until('the effect is back', async () => (await effects('payment', ['earlier']))[0] === 1);
  expect(await effects('inventory', ['earlier'])).toEqual([1]);
});

test('a row that another transaction holds delays nothing, and a second run sends it', async () => {
  const since = await nowOfSender();
  const id = await append(placed, 'held');
  await append(placed, 'free');
  await untilDone('dtx_outbox', ['held', 'free']);
  const failover = await nowOfSender();
  const other = await createConnection(sandbox.databases.order);
  onTestFinished(() => other.end().catch(() => {}));
  await other.beginTransaction();
  await other.query('SELECT id FROM dtx_outbox WHERE id = ? FOR UPDATE', [id]);
  const first = await redrive('--since', since, '--until', failover);
  expect(first.output).toMatch(/: 1 messages are sent again/);
  expect(first.output).toMatch(/left out: 1 that another transaction holds or has changed; run it again/);
  await other.rollback();
  expect((await redrive('--since', since, '--until', failover)).output).toMatch(
    /local-message: 1 messages are sent again/,
  );
  await untilDone('dtx_outbox', ['held', 'free']);
});

test('a window that receivers no longer know, and a database without messages, are refused', async () => {
  const old = await redrive('--since', '9d');
  expect(old).toMatchObject({
    code: 2,
    output: expect.stringMatching(/^--since: .* is older than the retention of the inboxes/),
  });
  expect(await redrive('--since', '9d', '--inbox-retention', '10d', '--dry-run')).toMatchObject({ code: 0 });
  expect(await redrive()).toMatchObject({ code: 2, output: expect.stringMatching(/^missing --since/) });
  expect(await redrive('--since', '1h', '--until', '2h')).toMatchObject({ code: 2 });
  const empty = await freshSandbox('redrive_empty', { audited: false });
  expect(await dtx(['redrive', '--since', '1h'], empty.databases.order)).toMatchObject({
    code: 2,
    output: expect.stringMatching(/^the database has no dtx_outbox and no dtx_half/),
  });
  await dtx(['migrate'], empty.databases.order);
  await sql(empty, 'order', `DELETE FROM dtx_schema_version WHERE component = 'dtx-local-message' AND version = 6`);
  expect((await dtx(['redrive', '--since', '1h'], empty.databases.order)).output).toMatch(
    /^dtx-local-message is at version 5, needed is 7; run npx nest-dtx migrate$/m,
  );
});
