import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AppProcess } from '../fixtures/app-process.js';
import { expectProblem } from '../fixtures/expect-problem.js';
import { Operator } from '../fixtures/operator.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { type Answer, call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { decisions, expectNothingLeft } from './branches-and-decisions.js';
import { buy } from './xa-purchase.js';

const BOOK = { buyerId: 'alice', sku: 'book', quantity: 1 };
const MUG = { buyerId: 'alice', sku: 'mug', quantity: 1 };
let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('xa_unavailable');
  shop = new Stack(sandbox);
  await shop.start();
  await Promise.all([shop.account('alice', 10_000_000), shop.stock('book', 1_000), shop.stock('mug', 1_000)]);
});

afterAll(async () => {
  await shop?.stop();
  await expectNothingLeft(sandbox);
});

async function order(options: Omit<Parameters<typeof AppProcess.start>[1], 'sandbox'>): Promise<AppProcess> {
  const instance = await AppProcess.start('order', { sandbox, ...options });
  shop.instances.push(instance);
  await shop.untilReady(instance);
  return instance;
}

function expectUnavailable(answer: Answer): void {
  expectProblem(answer, 503);
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
}

const untilBought = (url: string, key: string, body: object) =>
  until(`${key} is bought`, async () => {
    const answer = await buy(url, key, body);
    return answer.status === 201 && answer;
  });

async function reasonOf({ url }: AppProcess, name: string): Promise<string | undefined> {
  const { body } = await call(`${url}/health/ready`);
  return (body.reasons as Record<string, string> | undefined)?.[name];
}

test('an app without the URLs of the branches answers POST /orders/xa with 503 and serves everything else', async () => {
  const plain = await order({
    env: { DTX_XA_PAYMENT_DATABASE_URL: '', DTX_XA_INVENTORY_DATABASE_URL: '' },
    label: 'plain',
  });
  expectUnavailable(await buy(plain.url, 'plain', BOOK));
  const headers = { 'content-type': 'application/json' };
  expect((await call(`${plain.url}/orders`, { method: 'POST', headers, body: JSON.stringify(BOOK) })).status).toBe(202);
  await plain.stop();
});

test('a purchase without a branch database is answered with 503, a known key is replayed, and the key buys once later', async () => {
  const proxy = await TcpProxy.start(sandbox.databases.payment);
  const cut = await order({ env: { DTX_XA_PAYMENT_DATABASE_URL: proxy.url }, label: 'cut' });
  const known = await untilBought(cut.url, 'known', BOOK);
  const refused = await buy(cut.url, 'refused', { ...BOOK, sku: 'phone' });
  expect(refused.status).toBe(409);
  proxy.cut();
  expectUnavailable(await buy(cut.url, 'later', BOOK));
  expect((await buy(cut.url, 'known', BOOK)).body).toEqual(known.body);
  expect((await buy(cut.url, 'refused', { ...BOOK, sku: 'phone' })).body).toEqual(refused.body);
  proxy.heal();
  const later = await untilBought(cut.url, 'later', BOOK);
  expect((await buy(shop.of('order').url, 'later', BOOK)).body).toEqual(later.body);
  await cut.stop();
  await proxy.close();
});

test('a purchase of a locked row is answered with 503 after the lock wait, a queued one sooner, and both buy later', async () => {
  const core = { lockWaitSeconds: 1 };
  const narrow = await order({ options: { core, xa: { concurrencyMax: 1, acquireTimeoutMs: 300 } }, label: 'narrow' });
  await untilBought(narrow.url, 'narrow', BOOK);
  const holder = await createConnection({ uri: sandbox.databases.inventory });
  await holder.beginTransaction();
  await holder.query(`SELECT * FROM stock WHERE sku = 'mug' FOR UPDATE`);
  const since = performance.now();
  const [first, second] = await Promise.all([buy(narrow.url, 'held', MUG), buy(narrow.url, 'waits', BOOK)]);
  expectUnavailable(first);
  expectUnavailable(second);
  expect(performance.now() - since).toBeLessThan(10_000);
  expect((await decisions(sandbox)).filter(({ state }) => state !== 'DONE')).toEqual([]);
  await holder.rollback();
  await holder.end();
  await untilBought(narrow.url, 'held', MUG);
  await untilBought(narrow.url, 'waits', BOOK);
  await narrow.stop();
});

test('branch databases at another schema version are not written to, and the log names the version', async () => {
  await sql(
    sandbox,
    'payment',
    `INSERT INTO dtx_schema_version (component, version, name, applied_at) VALUES ('payment', 99, 'of a newer program', UTC_TIMESTAMP(3))`,
  );
  const old = await order({ options: { xa: { acquireTimeoutMs: 200 } }, label: 'old' });
  await until('the log says why', () =>
    /XA cannot use payment, retrying: has payment at version 99, open to programs from version 99, not 1 .*compatibleFrom/.test(
      old.log(),
    ),
  );
  expectUnavailable(await buy(old.url, 'old', BOOK));
  await sql(sandbox, 'payment', `DELETE FROM dtx_schema_version WHERE version = 99`);
  await untilBought(old.url, 'old', BOOK);
  await old.stop();
});

test('a moved decision log degrades the instance by name until a person confirms its place', async () => {
  const moved = await order({ label: 'moved', options: { xa: { logCheckIntervalMs: 300 } } });
  await sql(sandbox, 'order', `UPDATE dtx_xa_log SET home = 'old-primary/1/data'`);
  const reason = () => reasonOf(moved, 'xa log');
  await until('it is named', async () => /not where it belongs.*old-primary/.test((await reason()) ?? ''));
  const person = new Operator(shop, 'order');
  await until('a person has confirmed it', async () => (await person.resolve('log.moved', 'done')).status < 300);
  await until('nothing is degraded', async () => (await reason()) === undefined);
  await untilBought(moved.url, 'moved', BOOK);
  await moved.stop();
});

test('a MySQL account that may not list prepared branches gets an error with the exact GRANT', async (context) => {
  const [{ version }] = (await sql<{ version: string }>(sandbox, 'payment', 'SELECT VERSION() AS version')) as [
    { version: string },
  ];
  context.skip(/mariadb/i.test(version), 'MariaDB needs no privilege for it');
  const url = new URL(sandbox.databases.payment);
  const user = `xa_poor_${process.pid}`;
  await sql(sandbox, 'payment', `CREATE USER '${user}'@'%' IDENTIFIED BY 'poor'`);
  try {
    await sql(sandbox, 'payment', `GRANT ALL ON \`${url.pathname.slice(1)}\`.* TO '${user}'@'%'`);
    Object.assign(url, { username: user, password: 'poor' });
    const poor = await order({
      env: { DTX_XA_PAYMENT_DATABASE_URL: url.href },
      label: 'poor',
      options: { xa: { acquireTimeoutMs: 200 } },
    });
    await until('it says so', () => poor.log().includes(`GRANT XA_RECOVER_ADMIN ON *.* TO '${user}'@'%'`));
    expectUnavailable(await buy(poor.url, 'poor', BOOK));
    await sql(sandbox, 'payment', `GRANT XA_RECOVER_ADMIN ON *.* TO '${user}'@'%'`);
    await untilBought(poor.url, 'poor', BOOK);
    // A privilege that is revoked under a running app is named as degraded.
    await sql(sandbox, 'payment', `REVOKE XA_RECOVER_ADMIN ON *.* FROM '${user}'@'%'`);
    const reason = () => reasonOf(poor, 'xa payment');
    expect(await until('it is named', reason)).toContain(`GRANT XA_RECOVER_ADMIN ON *.* TO '${user}'@'%'`);
    await sql(sandbox, 'payment', `GRANT XA_RECOVER_ADMIN ON *.* TO '${user}'@'%'`);
    await until('it works again', async () => (await reason()) === undefined);
    await poor.stop();
  } finally {
    await sql(sandbox, 'payment', `DROP USER '${user}'@'%'`);
  }
});
