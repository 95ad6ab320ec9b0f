import request from 'supertest';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { troubleIn } from '../fixtures/app-logs.js';
import { ADMIN_TOKEN } from '../fixtures/app-process.js';
import { expectProblem } from '../fixtures/expect-problem.js';
import { type AppName, auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { APPS, call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const UNKNOWN_ID = '01976d2e-8c1b-7d3a-9f00-5a1c2b3d4e5f';
const SENT = '(SELECT COUNT(*) FROM dtx_outbox)';
const RECEIVED = `(SELECT COUNT(*) FROM dtx_inbox WHERE scheme = 'local-message')`;
const bearer = { authorization: `Bearer ${ADMIN_TOKEN}` };
let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('operations');
  shop = new Stack(sandbox);
  await shop.start();
  await shop.account('alice', 10_000_000);
  await shop.stock('book', 1_000);
  const orders = await Promise.all(
    Array.from({ length: 5 }, () => shop.order({ buyerId: 'alice', sku: 'book', quantity: 1 })),
  );
  await Promise.all(orders.map(({ orderId }) => shop.settled(orderId)));
  await until('all is receipted', async () => (await auditOf(sandbox)).ok);
});

afterAll(() => shop?.stop());

const get = (path: string, app: AppName = 'order') => request(shop.of(app).url).get(path).set(bearer);
const post = (path: string, body?: unknown, app: AppName = 'order') =>
  request(shop.of(app).url)
    .post(path)
    .set(bearer)
    .set('content-type', 'application/json')
    .send(JSON.stringify(body ?? {}));

describe('without the token everything below /dtx is 401', () => {
  const calls = [
    ['GET', '/dtx/transactions'],
    ['GET', `/dtx/transactions/${UNKNOWN_ID}`],
    ['POST', '/dtx/transactions/retry'],
    ['POST', `/dtx/transactions/${UNKNOWN_ID}/retry`],
    ['POST', `/dtx/transactions/${UNKNOWN_ID}/resolve`],
    ['GET', '/dtx/alerts'],
    ['POST', `/dtx/alerts/${UNKNOWN_ID}/acknowledge`],
    ['GET', '/dtx/summary'],
  ] as const;
  test.each(calls)('%s %s answers 401 without the token', async (method, path) => {
    for (const app of APPS) {
      const answer = await call(`${shop.of(app).url}${path}`, { method });
      expectProblem(answer, 401);
      expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
    }
  });

  test.each([
    'Bearer wrong',
    'Bearer',
    `Bearer ${ADMIN_TOKEN}x`,
    `Bearer ${ADMIN_TOKEN.slice(0, -1)}`,
    `Bearer ${ADMIN_TOKEN.toUpperCase()}`,
    `Bearer "${ADMIN_TOKEN}"`,
    `Bearer ${ADMIN_TOKEN} ${ADMIN_TOKEN}`,
    `Bearer ${'x'.repeat(8_000)}`,
    ADMIN_TOKEN,
    `Basic ${Buffer.from(`admin:${ADMIN_TOKEN}`).toString('base64')}`,
    `Token ${ADMIN_TOKEN}`,
    `Bearer${ADMIN_TOKEN}`,
  ])('a wrong token answers 401: %s', async (authorization) => {
    const answer = await call(`${shop.of('order').url}/dtx/summary`, { headers: { authorization } });
    const problem = expectProblem(answer, 401);
    expect(JSON.stringify(problem)).not.toContain(ADMIN_TOKEN);
  });

  test('the token in the query or in a cookie does not count', async () => {
    const { url } = shop.of('order');
    expectProblem(await call(`${url}/dtx/summary?access_token=${ADMIN_TOKEN}&token=${ADMIN_TOKEN}`), 401);
    expectProblem(await call(`${url}/dtx/summary`, { headers: { cookie: `token=${ADMIN_TOKEN}` } }), 401);
  });

  test('the token opens everything, with its scheme in any case', async () => {
    for (const app of APPS) await get('/dtx/summary', app).expect(200);
    await get('/dtx/summary').set('authorization', `bearer ${ADMIN_TOKEN}`).expect(200);
  });
});

describe('GET /dtx/transactions', () => {
  type Item = { id: string; state: string };
  const list = async (query: string, app?: AppName) => (await get(`/dtx/transactions${query}`, app).expect(200)).body;

  test('GET /dtx/transactions lists the fields of the contract, newest first', async () => {
    const { items } = await list('?scheme=local-message&limit=100');
    const [{ n }] = await sql<{ n: number }>(sandbox, 'order', `SELECT ${SENT} + ${RECEIVED} AS n`);
    expect(items.length).toBe(Number(n));
    const final = { scheme: 'local-message', attempts: expect.any(Number), nextAttemptAt: null, lastError: null };
    for (const item of items) {
      expect(item).toMatchObject({ ...final, state: expect.stringMatching(/^(DONE|HANDLED|CANCELLED)$/) });
      expect(new Date(item.createdAt).toISOString()).toBe(item.createdAt);
    }
    expect(items.at(0).createdAt >= items.at(-1).createdAt).toBe(true);
  });

  test('pages of GET /dtx/transactions neither skip nor repeat', async () => {
    for (const app of APPS) {
      const all = (await list('?limit=100', app)).items.map((item: Item) => item.id);
      const seen: string[] = [];
      for (let cursor: string | null = ''; cursor !== null; ) {
        const page: { items: Item[]; nextCursor: string | null } = await list(
          `?limit=3${cursor && `&cursor=${cursor}`}`,
          app,
        );
        expect(page.items.length).toBeGreaterThan(0);
        seen.push(...page.items.map(({ id }) => id));
        cursor = page.nextCursor;
      }
      expect(seen).toEqual(all);
    }
  });

  test('GET /dtx/transactions filters by scheme and state', async () => {
    const states = async (query: string) => (await list(query)).items.map((item: Item) => item.state);
    expect(await states('?state=DONE&scheme=local-message')).toEqual(Array(5).fill('DONE'));
    expect(new Set(await states('?state=HANDLED'))).toEqual(new Set(['HANDLED']));
    for (const query of ['?state=PARKED', '?state=nonsense', '?scheme=saga', '?scheme=saga&state=DONE']) {
      expect(await states(query)).toEqual([]);
    }
  });

  test.each([
    ['limit=0', 'limit'],
    ['limit=101', 'limit'],
    ['limit=-1', 'limit'],
    ['limit=1.5', 'limit'],
    ['limit=', 'limit'],
    ['limit=1&limit=2', 'limit'],
    ['scheme=', 'scheme'],
    ["scheme=' OR 1=1", 'scheme'],
    [`scheme=${'x'.repeat(33)}`, 'scheme'],
    ['state=PARKED&state=DONE', 'state'],
    ['state=PARKED;', 'state'],
    ['cursor=', 'cursor'],
    ["cursor=' OR 1=1", 'cursor'],
    [`cursor=${Buffer.from("x' OR '1'='1").toString('base64url')}`, 'cursor'],
    [`cursor=${'A'.repeat(1_000)}`, 'cursor'],
    ['order=asc', undefined],
  ])('GET /dtx/transactions answers 400 for %s', async (query, field) => {
    const problem = expectProblem(await get(encodeURI(`/dtx/transactions?${query}`)), 400, field);
    expect(problem.detail).toContain(query.split('=')[0]);
  });
});

describe('one transaction', () => {
  test('a transaction has a timeline of its own rows in order', async () => {
    const [sent] = (await get('/dtx/transactions?state=DONE&limit=1')).body.items;
    const { body } = await get(`/dtx/transactions/${sent.id}`).expect(200);
    expect(body).toMatchObject(sent);
    const times = body.timeline.map(({ at }: { at: string }) => at);
    expect(times.length).toBeGreaterThanOrEqual(2);
    expect(times).toEqual([...times].sort());
    for (const { at, event } of body.timeline)
      expect([new Date(at).toISOString(), event.length > 5]).toEqual([at, true]);
  });

  test('a settled transaction answers 409 to retry and resolve', async () => {
    const { items } = (await get('/dtx/transactions?limit=2')).body;
    for (const { id } of items) {
      expectProblem(await post(`/dtx/transactions/${id}/retry`), 409);
      for (const outcome of ['done', 'reject']) {
        expectProblem(await post(`/dtx/transactions/${id}/resolve`, { outcome, note: 'no' }), 409);
      }
    }
  });

  test.each([UNKNOWN_ID, 'x', `${UNKNOWN_ID}.order.confirm`, 'retry', '__proto__', '0', '...'])(
    'an unknown transaction answers 404: %s',
    async (id) => {
      const path = `/dtx/transactions/${id}`;
      expectProblem(await get(path), 404);
      expectProblem(await post(`${path}/retry`), 404);
      for (const outcome of ['done', 'reject']) {
        expectProblem(await post(`${path}/resolve`, { outcome, note: 'no' }), 404);
      }
      expectProblem(await post(`/dtx/alerts/${id}/acknowledge`), 404);
    },
  );

  test.each(["' OR 1=1--", '\0', '💰', 'x'.repeat(161), 'a/b', 'a b', '%'])(
    'a forged id answers 400: %j',
    async (id) => {
      const path = `/dtx/transactions/${encodeURIComponent(id)}`;
      expectProblem(await get(path), 400, 'id');
      expectProblem(await post(`${path}/retry`), 400, 'id');
      expectProblem(await post(`${path}/resolve`, { outcome: 'done', note: 'no' }), 400, 'id');
      expectProblem(await post(`/dtx/alerts/${encodeURIComponent(id)}/acknowledge`), 400, 'id');
    },
  );

  test.each<[unknown, string | undefined]>([
    [{}, 'outcome'],
    [{ outcome: 'maybe', note: 'x' }, 'outcome'],
    [{ outcome: null, note: 'x' }, 'outcome'],
    [{ outcome: 'done' }, 'note'],
    [{ outcome: 'done', note: '' }, 'note'],
    [{ outcome: 'done', note: '  \n' }, 'note'],
    [{ outcome: 'done', note: 'x'.repeat(1_001) }, 'note'],
    [{ outcome: 'done', note: 'x', force: true }, undefined],
    [[], 'body'],
    ['done', 'body'],
  ])('resolve answers 400 for the body %j', async (body, field) => {
    expectProblem(await post(`/dtx/transactions/${UNKNOWN_ID}/resolve`, body), 400, field);
  });

  test.each<[unknown, string | undefined]>([
    [{}, 'scheme'],
    [{ scheme: 'local-message' }, 'state'],
    [{ scheme: 7, state: 'PARKED' }, 'scheme'],
    [{ scheme: 'local-message', state: ['PARKED'] }, 'state'],
    [{ scheme: 'local-message', state: "PARKED' OR '1" }, 'state'],
    [{ scheme: 'local-message', state: 'PARKED', limit: 5 }, undefined],
  ])('a retry of all rows answers 400 for the body %j', async (body, field) => {
    expectProblem(await post('/dtx/transactions/retry', body), 400, field);
  });
});

test('GET /dtx/alerts lists none, and refuses a wrong query', async () => {
  expect((await get('/dtx/alerts').expect(200)).body).toEqual({ items: [], nextCursor: null });
  for (const query of ['limit=0', 'limit=101', 'limit=x', 'state=open'])
    expectProblem(await get(`/dtx/alerts?${query}`), 400);
});

test('a retry of all rows that match retries none if none matches', async () => {
  for (const state of ['PARKED', 'DONE', 'nonsense']) {
    const answer = await until('the last retry is over', async () => {
      const given = await post('/dtx/transactions/retry', { scheme: 'local-message', state });
      return given.status !== 409 && given;
    });
    expect([answer.status, answer.body]).toEqual([202, { matching: 0 }]);
  }
});

test('the reads have changed nothing, and no log has an error or a stack trace', async () => {
  const report = await auditOf(sandbox);
  expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
  expect(report.parked).toEqual([]);
  expect(troubleIn(shop.instances)).toEqual([]);
});
