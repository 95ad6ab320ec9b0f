import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { logLines } from '../../fixtures/app-logs.js';
import { AppProcess } from '../../fixtures/app-process.js';
import { LittleService, libraryOf } from '../../fixtures/little-service.js';
import { PrivateDatabase, reachedBy } from '../../fixtures/private-database.js';
import type { Sandbox } from '../../fixtures/sandbox.js';
import { APPS, call, Stack } from '../../fixtures/three-apps.js';
import { until } from '../../fixtures/until.js';

const ANY_CERTIFICATE = '{"rejectUnauthorized":false}';
let server: PrivateDatabase;
let root: Sandbox;
const stacks: Stack[] = [];

const withQuery = (sandbox: Sandbox, query: string) =>
  reachedBy(sandbox, (url) => {
    url.search = query;
  });

function stackOf(sandbox: Sandbox, env: Record<string, string> = {}): Stack {
  const stack = new Stack(sandbox, { env, options: { core: { reconnect: { capMs: 300 } } } });
  stacks.push(stack);
  return stack;
}

beforeAll(async () => {
  server = await PrivateDatabase.start('strict');
  root = await server.sandbox('private_database');
  await server.sql('SET GLOBAL require_secure_transport = ON');
}, 180_000);

afterAll(async () => {
  await Promise.all(stacks.map((stack) => stack.stop()));
  await server?.stop();
});

/** By the local message table over all three apps, and by XA over all three databases. */
async function expectPurchases(stack: Stack): Promise<void> {
  const body = { buyerId: 'alice', sku: 'book', quantity: 1 };
  await stack.account('alice', 1_000_000);
  await stack.stock('book', 10);
  const { orderId } = await stack.order(body);
  expect(await stack.settled(orderId)).toMatchObject({ status: 'CONFIRMED' });
  const byXa = await until('an XA purchase is made', async () => {
    const answer = await stack.send('order', 'POST', '/orders/xa', body);
    return answer.status === 201 && answer;
  });
  expect(byXa.body).toMatchObject({ status: 'CONFIRMED' });
}

const readyOf = async (instance: AppProcess) => (await call(`${instance.url}/health/ready`)).status;

describe('a server that demands TLS', () => {
  test('a server that demands TLS is used by all apps and XA branches with a known authority', async () => {
    const stack = stackOf(withQuery(root, '?ssl=true'), { NODE_EXTRA_CA_CERTS: server.authority });
    await stack.start(); // migrates
    await expectPurchases(stack);
    await stack.stop();
  });

  test('a server that demands TLS is used with any certificate if the URL allows it', async () => {
    const stack = stackOf(withQuery(root, '?sslmode=REQUIRED'));
    await stack.start(['order']);
    await stack.stop();
  });

  test('a server that demands TLS is not used without TLS or with an unknown authority', async () => {
    const plain = AppProcess.spawn('payment', { sandbox: withQuery(root, '') });
    const unknown = AppProcess.spawn('payment', { sandbox: withQuery(root, '?ssl=true') });
    try {
      await Promise.all([plain.untilListening(), unknown.untilListening()]);
      await until('it says why not', () => /secure|Access denied|insecure/i.test(plain.log()));
      await until('it says why not', () => /self.signed certificate/i.test(unknown.log()));
      expect([await readyOf(plain), await readyOf(unknown)]).toEqual([503, 503]);
    } finally {
      await Promise.all([plain.kill(), unknown.kill()]);
    }
  });
});

describe('an account with rights on rows only', () => {
  let rows: Sandbox;

  beforeAll(async () => {
    await server.sql(`CREATE USER 'rows_only'@'%' IDENTIFIED BY 'row-secret'`);
    for (const app of APPS)
      await server.sql(
        `GRANT SELECT, INSERT, UPDATE, DELETE ON \`${new URL(root.databases[app]).pathname.slice(1)}\`.* TO 'rows_only'@'%'`,
      );
    rows = reachedBy(root, (url) => {
      url.username = 'rows_only';
      url.password = 'row-secret';
      url.search = `?ssl=${ANY_CERTIFICATE}`;
    });
  });

  test('an account with rights on rows suffices for a service with a current schema', async () => {
    const library = libraryOf();
    const ssl = { rejectUnauthorized: false };
    const asRoot = await LittleService.start({ sandbox: root, library, source: { ssl } as object });
    await asRoot.close();
    const asRows = await LittleService.start({ sandbox: rows, library, source: { ssl } as object });
    await asRows.close();
  });

  test('an account with rights on rows suffices for the migrated apps and their purchases', async () => {
    const stack = stackOf(rows);
    await stack.start();
    await expectPurchases(stack);
    await stack.stop();
  });

  test('an account with rights on rows cannot migrate, and one line names the missing right and table', async () => {
    const database = new URL(root.databases.inventory).pathname.slice(1);
    await server.sql(`DROP TABLE \`${database}\`.stock`);
    await server.sql(`DELETE FROM \`${database}\`.dtx_schema_version WHERE component = 'inventory'`);
    const instance = AppProcess.spawn('inventory', { sandbox: rows });
    try {
      await instance.untilListening();
      const line = await until('it says so', () =>
        logLines(instance).find(({ message }) => /cannot use the database/.test(message)),
      );
      expect(line.message).toMatch(/lacks a right for inventory version 1 .*CREATE command denied .*'?stock/);
      const { status, body } = await call(`${instance.url}/health/ready`);
      expect([status, String(body.detail)]).toEqual([503, expect.stringMatching(/CREATE command denied/)]);
      expect(logLines(instance).filter(({ message }) => /CREATE command denied/.test(message))).toHaveLength(1);
    } finally {
      await instance.kill();
    }
  });

  test('readiness answers 503 while the server takes no writes, and 200 again after it', async () => {
    const stack = stackOf(rows);
    const [payment] = (await stack.start(['payment'])) as [AppProcess];
    await server.sql('SET GLOBAL read_only = ON');
    try {
      const said = await until('readiness says no', async () => {
        const answer = await call(`${payment.url}/health/ready`);
        return answer.status === 503 && answer;
      });
      expect(said.body.detail).toMatch(/takes no write: .*read.only/i);
      expect((await stack.get('payment', '/accounts/alice')).status).toBe(200);
    } finally {
      await server.sql('SET GLOBAL read_only = OFF');
    }
    await until('readiness says yes', async () => (await readyOf(payment)) === 200);
    const told = () => logLines(payment).filter(({ context }) => context === 'nest-dtx readiness');
    await until('the log says that it works again', () => told().length === 2);
    expect(told().map(({ level }) => level)).toEqual(['warn', 'log']);
  });
});
