import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { management } from '../../tools/src/servers/broker-api.js';
import { Administrator } from '../core/broker/broker-administrator.js';
import { built } from '../fixtures/built-library.js';
import { contractOf, controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { dtx } from './dtx-command.js';
import { dmlOf, limitedAccount } from './limited-account.js';

const library = libraryOf();
const { dtxGrantSql } = built('schema/index.js');
const CONTRACTS = ['--app', 'payment', '--contracts', 'test/schema/ledger-contracts.mjs'];
const WITHOUT_CONFIGURE = { configure: '^$', write: '.*', read: '.*' };
const users: string[] = [];
let sandbox: Sandbox;
let admin: Administrator;

beforeAll(async () => {
  sandbox = await freshSandbox('doctor_and_queues', { audited: false });
  admin = await Administrator.of(sandbox);
});

beforeEach(() => dtx(['migrate'], sandbox.databases.payment));
afterAll(() => admin?.close(users));

async function brokerAccount(rights: { configure: string; write: string; read: string }): Promise<string> {
  const user = `doctor-${randomUUID()}`;
  users.push(user);
  return admin.account(user, 'doctor-secret', rights);
}

const doctor = (...args: string[]) => dtx(['doctor', ...args]);

test('doctor passes every check of a service that has the rights of docs/schema.md and no others', async () => {
  const { url } = await limitedAccount(sandbox, dtxGrantSql('ACCOUNT'));
  const rabbitmq = await brokerAccount({ configure: '^dtx\\.', write: '^amq\\.default$', read: '^dtx\\.' });
  const { code, output } = await doctor('--url', url, '--rabbitmq', rabbitmq, '--redis', sandbox.redis, ...CONTRACTS);
  expect(output).not.toMatch(/^FAIL/m);
  for (const what of ['database server', 'database settings', 'database clock', 'database schema', 'database rights'])
    expect(output).toMatch(new RegExp(`^ok {4}${what}: `, 'm'));
  for (const what of ['broker server', 'broker right configure', 'broker right write', 'broker right read', 'redis'])
    expect(output).toMatch(new RegExp(`^ok {4}${what}: `, 'm'));
  expect(output).toMatch(/^ok {4}XA branches: /m);
  expect(code).toBe(0);
});

test('doctor names each missing right on a table', async () => {
  const grants: string[] = dtxGrantSql('ACCOUNT');
  const withoutInsert = grants.map((grant) =>
    grant.includes('ON dtx_inbox ') ? 'GRANT SELECT, UPDATE, DELETE ON dtx_inbox TO ACCOUNT' : grant,
  );
  const { url } = await limitedAccount(sandbox, withoutInsert);
  const { code, output } = await doctor('--url', url);
  expect(code).toBe(1);
  expect(output).toMatch(/^FAIL {2}database rights: cannot INSERT on dtx_inbox \(.*\); npx nest-dtx sql /m);
  expect(output).toContain('1 check(s) failed');
});

test('doctor says which component is behind', async () => {
  await sql(sandbox, 'payment', `DELETE FROM dtx_schema_version WHERE component = 'dtx-inbox' AND version = 5`);
  const { code, output } = await doctor('--url', sandbox.databases.payment);
  expect(code).toBe(1);
  expect(output).toMatch(/^FAIL {2}database schema: dtx-inbox is at version 4, needed is 5; run npx nest-dtx migrate/m);
});

test('doctor of an app with some schemes says how to leave out the others', async () => {
  await sql(sandbox, 'payment', `DELETE FROM dtx_schema_version WHERE component = 'dtx-xa-witness'`);
  const all = await doctor('--url', sandbox.databases.payment);
  expect(all.output).toMatch(/dtx-xa-witness is at version none.*, or name the schemes of this app with --schemes$/m);
  const own = await doctor('--url', sandbox.databases.payment, '--schemes', 'local-message');
  expect(own).toMatchObject({ code: 0, output: expect.stringMatching(/^ok {4}database schema: up to date/m) });
});

test('doctor changes no row of a table on which it tries rights', async () => {
  const { url } = await limitedAccount(sandbox, [dmlOf(sandbox)]);
  const rows = () => sql(sandbox, 'payment', 'SELECT * FROM dtx_xa_log');
  const before = await rows();
  expect(before).toHaveLength(1);
  await doctor('--url', url);
  expect(await rows()).toEqual(before);
});

test('doctor names a virtual host that does not exist, and a wrong password', async () => {
  const url = new URL(sandbox.rabbitmq);
  url.pathname = '/dtx_nowhere';
  const nowhere = await doctor('--rabbitmq', url.href);
  expect(nowhere).toMatchObject({
    code: 1,
    output: expect.stringContaining('NOT_ALLOWED - vhost dtx_nowhere not found; create it with rabbitmqctl add_vhost'),
  });
  const wrong = new URL(sandbox.rabbitmq);
  wrong.password = 'wr0ng-secret';
  const refused = await doctor('--rabbitmq', wrong.href);
  expect(refused).toMatchObject({
    code: 1,
    output: expect.stringMatching(/^FAIL {2}broker: cannot connect: ACCESS_REFUSED.*; check user and password/m),
  });
  expect(refused.output).not.toContain('wr0ng-secret');
});

test('doctor names the missing rights of a broker account', async () => {
  const { code, output } = await doctor(
    ...['--rabbitmq', await brokerAccount({ configure: '^dtx\\.', write: '^$', read: '^$' })],
  );
  expect(code).toBe(1);
  expect(output).toMatch(/^ok {4}broker right configure: /m);
  expect(output).toMatch(/^FAIL {2}broker right write: .*"write"/m);
  expect(output).toMatch(/^FAIL {2}broker right read: .*"read"/m);
});

test('an account without configure passes doctor and consumes, once the printed queues are imported', async () => {
  const rabbitmq = await brokerAccount(WITHOUT_CONFIGURE);
  const alone = await doctor('--rabbitmq', rabbitmq);
  expect(alone).toMatchObject({ code: 1, output: expect.stringMatching(/^FAIL {2}broker right configure: /m) });
  const before = await doctor('--rabbitmq', rabbitmq, ...CONTRACTS);
  expect(before).toMatchObject({
    code: 1,
    output: expect.stringMatching(/^FAIL {2}broker queues: .*payment\.book\.v1/m),
  });

  const levels = ['--levels', '1000,2000,3000'];
  const printed = await dtx(['queues', ...CONTRACTS, ...levels, '--json', '--vhost', sandbox.vhost]);
  expect(printed.code).toBe(0);
  const path = `/definitions/${encodeURIComponent(sandbox.vhost)}`;
  await management(sandbox.management, 'POST', path, JSON.parse(printed.output));
  const after = await doctor('--rabbitmq', rabbitmq, ...CONTRACTS, ...levels);
  expect(after).toMatchObject({ code: 0, output: expect.stringMatching(/^ok {4}broker queues: /m) });

  const booked = contractOf(library, 'book');
  const taken: string[] = [];
  const controller = controllerOf([
    [library.OnMessage(booked), ((_tx: unknown, { gid }: { gid: string }) => taken.push(gid)) as never],
  ]);
  const service = await LittleService.start({ sandbox: { ...sandbox, rabbitmq }, library, controllers: [controller] });
  onTestFinished(() => service.close());
  const gid = service.get(library.Database).newId();
  await service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, booked, { gid }));
  await until('the message is handled', () => taken.includes(gid));
});

test('doctor names a queue that exists with other arguments', async () => {
  await admin.remove('dtx.report.print.v1');
  await admin.declare('dtx.report.print.v1', 'classic');
  const { code, output } = await doctor('--rabbitmq', sandbox.rabbitmq, ...CONTRACTS);
  expect(code).toBe(1);
  expect(output).toMatch(/^FAIL {2}broker queues: .*dtx\.report\.print\.v1: it exists with other arguments/m);
});
