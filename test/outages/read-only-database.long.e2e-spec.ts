import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectProblem } from '../fixtures/expect-problem.js';
import { LittleService, libraryOf } from '../fixtures/little-service.js';
import { PrivateDatabase, reachedBy } from '../fixtures/private-database.js';
import { expectAuditClean } from '../fixtures/purchase-checks.js';
import { type Sandbox, sql } from '../fixtures/sandbox.js';
import { APPS, call, Stack } from '../fixtures/three-apps.js';
import { until, untilPassed } from '../fixtures/until.js';

/** Long enough to use up `attemptsMax` several times, with the short waits below. */
const READ_ONLY_MS = 10_000;
const SHORT = { firstMs: 100, factor: 1, capMs: 100 };
/** Every scheme parks after four failed attempts. */
const OPTIONS = {
  core: { inbox: { attemptsMax: 4, backoff: SHORT } },
  tcc: { attemptsMax: 4, backoff: SHORT, callTimeoutMs: 500 },
  localMessage: { attemptsMax: 4 },
  xa: { attemptsMax: 4 },
};
const BODY = { buyerId: 'buyer-read-only', sku: 'item-0001', quantity: 1 };

let server: PrivateDatabase;
let root: Sandbox;
let shop: Stack;

beforeAll(async () => {
  server = await PrivateDatabase.start('read-only');
  root = await server.sandbox('outage_read_only');
  shop = new Stack(await withoutAdminRights(root), { options: OPTIONS });
  await shop.start();
  await shop.account(BODY.buyerId, 1_000_000);
  await shop.stock(BODY.sku, 1_000);
}, 180_000);

afterAll(async () => {
  await shop?.stop();
  await server?.stop();
});

/** Of an account without READ ONLY ADMIN. Root may write to a read-only server. */
async function withoutAdminRights(sandbox: Sandbox): Promise<Sandbox> {
  const password = randomBytes(12).toString('hex');
  await server.sql(`CREATE USER 'app'@'%' IDENTIFIED BY '${password}'`);
  for (const app of APPS)
    await server.sql(`GRANT ALL ON \`${new URL(sandbox.databases[app]).pathname.slice(1)}\`.* TO 'app'@'%'`);
  return reachedBy(sandbox, (url) => Object.assign(url, { username: 'app', password }));
}

const buy = (app: 'order' | 'payment' | 'inventory', path: string, key: string) =>
  shop.send(app, 'POST', path, BODY, { 'idempotency-key': key });

/**
 * The rows with an attempt or a final failure. The outbox counts each send, also the first one. Not those of notifications:
 * their target is another program, whose 503 is a failed attempt.
 */
async function counted(): Promise<unknown[]> {
  const all = APPS.flatMap((app) =>
    ['dtx_inbox', 'dtx_outbox', 'dtx_tcc', 'dtx_xa', 'dtx_half'].map(async (table) => {
      const where = `FROM ${table} WHERE attempts > ${table === 'dtx_outbox' ? 1 : 0} OR state = 'PARKED'`;
      const rows = await sql(root, app, `SELECT '${app} ${table}' AS place, id, state, attempts, last_error ${where}`)
        // Only the tables of its schemes exist in the database of an app.
        .catch((error) => (/doesn't exist/.test(String(error)) ? [] : Promise.reject(error)));
      return rows;
    }),
  );
  return (await Promise.all(all)).flat();
}

/** Purchases of every scheme that are in different steps when the server stops to take writes. */
function begin(name: string): Array<Promise<unknown>> {
  const calls = [
    ['order', '/orders'],
    ['order', '/orders/xa'],
    ['payment', '/checkouts'],
    ['inventory', '/flash-sales'],
  ] as const;
  return calls.flatMap(([app, path]) =>
    Array.from({ length: 5 }, (_, n) => buy(app, path, `${name}-${path}-${n}`).catch(() => null)),
  );
}

test('an error of a read-only server counts as an unavailable database, although the server answers reads', async () => {
  const library = libraryOf();
  const service = await LittleService.start({ sandbox: shop.sandbox, library });
  try {
    const database = service.get(library.Database);
    await server.sql('SET GLOBAL read_only = ON');
    const error = await database.own.query('DELETE FROM dtx_alert').catch((reason) => reason);
    expect(error).toMatchObject({ errno: 1290 });
    expect(await database.ping()).toBe(true);
    expect(await database.isAway(error)).toBe(true);
    await server.sql('SET GLOBAL read_only = OFF');
    expect(await database.isAway(error)).toBe(false);
  } finally {
    await server.sql('SET GLOBAL read_only = OFF');
    await service.close();
  }
});

test('a server that is read-only for 10 s counts no attempt in any scheme, readiness names it, and all heals by itself', async () => {
  const begun = begin('before');
  const since = performance.now();
  await server.sql('SET GLOBAL read_only = ON');
  try {
    const during = begin('during');
    for (const app of APPS) {
      const said = await until(`readiness of ${app} says no`, async () => {
        const answer = await call(`${shop.of(app).url}/health/ready`);
        return answer.status === 503 && answer;
      });
      expect(said.body.detail).toMatch(/takes no write: .*read.only/i);
    }
    expectProblem(await buy('order', '/orders', 'refused'), 503);
    await Promise.all([...begun, ...during]);
    await untilPassed(since, READ_ONLY_MS);
  } finally {
    await server.sql('SET GLOBAL read_only = OFF');
  }
  for (const instance of shop.instances) await shop.untilReady(instance);
  expect((await buy('payment', '/checkouts', 'after')).status).toBe(201);
  await expectAuditClean(new Stack(root));
  expect(await counted()).toEqual([]);
});
