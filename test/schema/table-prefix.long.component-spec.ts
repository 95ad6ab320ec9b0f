import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import type { untilSettled } from '../../libs/dtx/src/testing/index.js';
import { built } from '../fixtures/built-library.js';
import { contractOf, controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { Target } from '../fixtures/notification-target.js';
import { NOTIFY_SECRET } from '../fixtures/notifying-shop.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { participantOf, libraryOf as tccLibraryOf } from '../tcc/little-app.js';
import { dtx } from './dtx-command.js';

/** Two environments of the same app on one virtual host, with their tables in one schema. */
const ENVIRONMENTS = ['blue', 'green'] as const;
type Environment = (typeof ENVIRONMENTS)[number];

const library = libraryOf();
const settled = (built('testing/index.js') as { untilSettled: typeof untilSettled }).untilSettled;
const noted = contractOf(library, 'note');
const sold = contractOf(library, 'sell', { replicated: true });
const failing = contractOf(library, 'fail');
const funds = library.defineParticipant({ name: 'payment.funds', version: 1, args: z.object({ gid: z.string() }) });

const ADMIN_TOKEN = 'token-of-operators';
const handled: string[] = [];
const services = {} as Record<Environment, LittleService>;
let target: Target;
let sandbox: Sandbox;

async function start(environment: Environment): Promise<LittleService> {
  const note = (what: string) =>
    ((_tx: unknown, { gid }: { gid: string }) => {
      handled.push(`${environment} ${what} ${gid}`);
    }) as never;
  let failures = 0;
  const failOnce = (() => {
    if (failures++ === 0) throw new Error('the first time fails');
  }) as never;
  return LittleService.start({
    sandbox,
    library,
    core: {
      queuePrefix: environment,
      tablePrefix: environment,
      // The names of the user stay as they are, in the tables of the app and in its text.
      migrations: [
        { version: 1, name: 'the dtx_effect', up: ['CREATE TABLE IF NOT EXISTS effect (gid VARCHAR(64), note TEXT)'] },
      ],
    },
    controllers: [
      controllerOf([
        [library.OnMessage(noted), note('note')],
        [library.OnMessage(sold), note('sell')],
        [library.OnMessage(failing), failOnce],
      ]),
    ],
    providers: [participantOf(tccLibraryOf(), funds, { confirm: note('confirm') })],
    imports: [
      library.NotifyModule.forService({
        service: 'payment',
        secrets: [NOTIFY_SECRET],
        allow: ['127.0.0.0/8'],
        defaultTarget: target.url(),
      }),
      library.XaModule.forParticipant(),
      library.OpsModule.forRoot({ adminToken: ADMIN_TOKEN }),
    ],
    xa: { branches: { inventory: { url: sandbox.databases.inventory } }, acceptUnflushed: true },
  });
}

beforeAll(async () => {
  sandbox = await freshSandbox('table_prefix', { audited: false });
  await sql(sandbox, 'inventory', 'CREATE TABLE effect (gid VARCHAR(64)) ENGINE=InnoDB');
  for (const environment of ENVIRONMENTS) {
    const args = ['migrate', '--schemes', 'xa-participant', '--table-prefix', environment];
    expect(await dtx(args, sandbox.databases.inventory)).toMatchObject({ code: 0 });
  }
  target = await Target.start();
  for (const environment of ENVIRONMENTS) services[environment] = await start(environment);
});

afterAll(async () => {
  await Promise.all(Object.values(services).map((service) => service?.close()));
  await target?.close();
});

const rowsOf = <Row = { state: string }>(environment: Environment, table: string, where = 'TRUE') =>
  sql<Row>(sandbox, 'payment', `SELECT * FROM ${environment}_${table} WHERE ${where}`);
const otherThan = (environment: Environment): Environment => (environment === 'blue' ? 'green' : 'blue');

/** The row is in the table of its environment only. */
async function isAlone(environment: Environment, table: string, where: string): Promise<void> {
  expect(await rowsOf(environment, table, where)).toHaveLength(1);
  expect(await rowsOf(otherThan(environment), table, where)).toEqual([]);
}

test.each(ENVIRONMENTS)('a local message of %s runs in its own tables', async (environment) => {
  const { source } = services[environment];
  const gid = `${environment}-local`;
  await source.transaction((tx) => services[environment].get(library.LocalMessages).append(tx, noted, { gid }));
  await settled(services[environment].app);
  await isAlone(environment, 'outbox', `gid = '${gid}' AND state = 'DONE'`);
  await isAlone(environment, 'inbox', `gid = '${gid}'`);
  expect(handled.filter((one) => one.endsWith(gid))).toEqual([`${environment} note ${gid}`]);
});

test.each(ENVIRONMENTS)('a failed message of %s is retried from its own inbox', async (environment) => {
  const gid = `${environment}-failing`;
  await services[environment].source.transaction((tx) =>
    services[environment].get(library.LocalMessages).append(tx, failing, { gid }),
  );
  await settled(services[environment].app);
  await isAlone(environment, 'inbox', `gid = '${gid}' AND state = 'HANDLED' AND attempts > 0`);
});

test.each(ENVIRONMENTS)('a half message of %s has its verdict in its own tables', async (environment) => {
  const gid = `${environment}-half`;
  const insert = (tx: { query(text: string, values: unknown[]): Promise<unknown> }) =>
    tx.query('INSERT INTO effect (gid, note) VALUES (?, ?)', [gid, 'dtx_inbox']);
  await services[environment].get(library.HalfMessages).send(sold, { gid }, insert as never);
  await settled(services[environment].app);
  await isAlone(environment, 'half', `gid = '${gid}' AND state = 'DONE'`);
  expect(handled).toContain(`${environment} sell ${gid}`);
  expect(await sql(sandbox, 'payment', 'SELECT note FROM effect WHERE gid = ?', [gid])).toEqual([
    { note: 'dtx_inbox' },
  ]);
});

test.each(ENVIRONMENTS)('a TCC transaction of %s has its rows and barriers in its own tables', async (environment) => {
  const gid = `${environment}-tcc`;
  const tcc = services[environment].get(library.Tcc);
  expect(await tcc.run({ gid }, (calls) => calls.call(funds, { gid }))).toMatchObject({ status: 'CONFIRMED' });
  await settled(services[environment].app);
  await isAlone(environment, 'tcc', `id = '${gid}'`);
  await isAlone(environment, 'tcc_branch', `gid = '${gid}'`);
  await isAlone(environment, 'tcc_barrier', `gid = '${gid}' AND phase = 'try'`);
});

test.each(ENVIRONMENTS)('a notification of %s is recorded and delivered from its own table', async (environment) => {
  const id = `${environment}-event`;
  const event = { id, gid: id, type: 'payment.captured', at: new Date(), data: {} };
  await services[environment].get(library.Notifications).publish(event);
  await until('the notification is delivered', async () =>
    (await rowsOf(environment, 'notification', `id = '${id}'`)).some(({ state }) => state === 'DELIVERED'),
  );
  await isAlone(environment, 'notification', `id = '${id}'`);
  expect(target.of(id)).toHaveLength(1);
});

test.each(ENVIRONMENTS)('an XA transaction of %s has log and witnesses in its own tables', async (environment) => {
  const gid = `${environment}-xa`;
  const insert = 'INSERT INTO effect (gid) VALUES (?)';
  await services[environment].get(library.Xa).run(
    ['payment', 'inventory'],
    async ({ payment, inventory }) => {
      await payment!.query(insert, [gid]);
      await inventory!.query(insert, [gid]);
    },
    { gid },
  );
  await settled(services[environment].app);
  await isAlone(environment, 'xa', `gid = '${gid}' AND state = 'DONE'`);
  const witnesses = (of: Environment) => sql(sandbox, 'inventory', `SELECT gtrid FROM ${of}_xa_witness`);
  expect((await witnesses(environment)).length).toBeGreaterThan(0);
  expect(await sql(sandbox, 'inventory', 'SELECT gid FROM effect WHERE gid = ?', [gid])).toHaveLength(1);
});

test('the same Idempotency-Key is free in each environment', async () => {
  const key = { route: 'POST /orders', key: 'k1', body: {} };
  for (const environment of ENVIRONMENTS) {
    const keys = services[environment].get(library.IdempotencyKeys);
    const claim = () => services[environment].source.transaction((tx) => keys.claim(tx, { ...key, gid: environment }));
    expect(await claim()).toEqual({ first: true });
    expect(await claim()).toMatchObject({ first: false, gid: environment });
    expect(await keys.find(key)).toMatchObject({ gid: environment });
  }
});

test('the user transaction of another default database writes to the tables of its environment', async () => {
  const { source } = services.blue;
  const messages = services.blue.get(library.LocalMessages);
  await source.transaction(async (tx) => {
    await tx.query('USE information_schema');
    await messages.append(tx, noted, { gid: 'blue-used' });
    await tx.query(`USE ${new URL(sandbox.databases.payment).pathname.slice(1)}`);
  });
  await settled(services.blue.app);
  await isAlone('blue', 'outbox', `gid = 'blue-used' AND state = 'DONE'`);
});

test('the commands status, migrate, doctor and sql work on the tables of --table-prefix', async () => {
  const url = sandbox.databases.payment;
  const args = ['--schemes', 'local-message,tcc', '--table-prefix'];
  expect(await dtx(['status', ...args, 'red'], url)).toMatchObject({ code: 2 });
  expect(await dtx(['migrate', ...args, 'red'], url)).toMatchObject({ code: 0 });
  expect(await dtx(['migrate', ...args, 'red'], url)).toMatchObject({ output: 'up to date, nothing to apply\n' });
  expect(await dtx(['status', ...args, 'red'], url)).toMatchObject({ code: 0 });
  const doctor = await dtx(['doctor', ...args, 'red'], url);
  expect(doctor.output).toMatch(/^ok +database rights: SELECT, INSERT, UPDATE and DELETE on \d+ tables$/m);
  const printed = await dtx(['sql', '--from', 'status', ...args, 'red'], url);
  expect(printed.output).toContain('GRANT SELECT ON red_schema_version TO');
  expect(printed.output).not.toMatch(/dtx_(?!done|found|sql|step)/);
});

test('an app instance that restarts migrates nothing again, and the user component keeps its names', async () => {
  await services.green.close();
  services.green = await start('green');
  const rows = await sql(sandbox, 'payment', `SELECT name FROM green_schema_version WHERE component = 'payment'`);
  expect(rows).toEqual([{ name: 'the dtx_effect' }]);
});

test.each(ENVIRONMENTS)(
  'readiness, metrics and the pages of operators of %s read its own tables',
  async (environment) => {
    const read = (url: string) =>
      services[environment].app
        .getHttpAdapter()
        .getInstance()
        .inject({ url, headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
    await until('ready', async () => (await read('/health/ready')).statusCode === 200);
    await until('the probe has written', async () => (await rowsOf(environment, 'probe')).length === 1);
    const page = await read(`/dtx/transactions/${environment}-tcc`);
    expect(page.statusCode).toBe(200);
    expect((await read(`/dtx/transactions/${otherThan(environment)}-tcc`)).statusCode).toBe(404);
    expect((await read('/dtx/alerts')).statusCode).toBe(200);
    expect((await read('/metrics')).body).toContain('dtx_open_rows');
  },
);

test('no table of the library has the default prefix', async () => {
  for (const app of ['payment', 'inventory'] as const) {
    const tables = await sql(
      sandbox,
      app,
      `SELECT table_name AS name FROM information_schema.tables
        WHERE table_schema = DATABASE() AND table_name LIKE 'dtx\\_%'`,
    );
    expect(tables).toEqual([]);
  }
});
