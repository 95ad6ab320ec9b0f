/** Two schemes may know one id. `GET` and the actions of an operator must mean the same row. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';

const library = libraryOf();
const TOKEN = 'the admin token';
const HOUR = 'INTERVAL 1 HOUR';
/** No scan takes a row of the test. The due times lie in an hour, and `NEVER` is the due time of a row that waits. */
const SOON = `UTC_TIMESTAMP(3) + ${HOUR}`;
const NEVER = `'9999-12-31'`;
let sandbox: Sandbox;
let service: LittleService;
let url: string;
let id = '';
let count = 0;

beforeAll(async () => {
  sandbox = await freshSandbox('one_id_in_two_schemes', { audited: false });
  const notify = library.NotifyModule.forService({ service: 'payment', allow: ['127.0.0.1:9'] });
  const imports = [
    library.OpsModule.forRoot({ adminToken: TOKEN, payloads: 'masked' }),
    notify,
    library.SagaModule.forRoot(),
  ];
  service = await LittleService.start({ sandbox, library, imports });
  await service.app.listen(0, '127.0.0.1');
  url = `${await service.app.getUrl()}/dtx/transactions`;
});
afterAll(() => service?.close());
beforeEach(() => {
  id = `order-${++count}`;
});

async function call(method: 'GET' | 'POST', path = '', body: object = {}) {
  const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' };
  const sent = method === 'POST' ? { body: JSON.stringify(body) } : {};
  const response = await fetch(`${url}/${id}${path}`, { method, headers, ...sent });
  return { status: response.status, body: (await response.json()) as { timeline?: object[] } };
}
const resolve = (outcome: 'done' | 'reject') => call('POST', '/resolve', { outcome, note: 'looked into it' });

/** A settled row is older than an open one, since the transaction came before its notification. */
const insert = {
  tcc: (state: string, due: string) =>
    sql(
      sandbox,
      'payment',
      `INSERT INTO dtx_tcc (id, gid, state, decision, deadline, next_attempt_at, created_at, decided_at)
       VALUES (?, ?, ?, 'CONFIRM', ${SOON}, ${due}, UTC_TIMESTAMP(3) - ${HOUR}, UTC_TIMESTAMP(3))`,
      [id, id, state],
    ),
  scheduled: () =>
    sql(
      sandbox,
      'payment',
      `INSERT INTO dtx_outbox (id, gid, contract, version, payload, awaiting, state, next_attempt_at, created_at)
       VALUES (?, ?, 'test.told', 1, '{}', ',payment.told,', 'SCHEDULED', ${SOON}, ${SOON})`,
      [id, id],
    ),
  waitingSaga: () =>
    sql(
      sandbox,
      'payment',
      `INSERT INTO dtx_saga
        (id, gid, incarnation, saga, version, state, input, deadline, waiting_since, next_attempt_at, created_at, reached_at)
       VALUES (?, ?, 'one', 'payment.waits', 1, 'RUNNING', '{}', ${SOON}, UTC_TIMESTAMP(3), ${NEVER}, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
      [id, id],
    ),
  notification: (state: string, due: string) =>
    sql(
      sandbox,
      'payment',
      `INSERT INTO dtx_notification (id, gid, type, target, target_host, body, state, next_attempt_at, created_at)
       VALUES (?, ?, 'payment.captured', 'http://127.0.0.1:9/', '127.0.0.1:9', '{}', ?, ${due}, UTC_TIMESTAMP(3))`,
      [id, id, state],
    ),
};

async function stateIn(table: 'dtx_tcc' | 'dtx_outbox' | 'dtx_notification'): Promise<string> {
  const [row] = await sql<{ state: string }>(sandbox, 'payment', `SELECT state FROM ${table} WHERE id = ?`, [id]);
  return row!.state;
}

test('a parked notification that is resolved leaves a confirming TCC transaction of its id alone', async () => {
  await insert.tcc('CONFIRMING', SOON);
  await insert.notification('PARKED', NEVER);
  expect((await call('GET')).body).toMatchObject({ scheme: 'notify', state: 'PARKED' });
  const answer = await resolve('done');
  expect(await stateIn('dtx_tcc')).toBe('CONFIRMING');
  expect(answer).toMatchObject({ status: 200, body: { scheme: 'notify', state: 'CLOSED' } });
  expect(JSON.stringify(answer.body.timeline)).toContain('looked into it');
});

test('a parked TCC transaction that is resolved leaves a pending notification of its id alone', async () => {
  await insert.tcc('PARKED', NEVER);
  await insert.notification('PENDING', SOON);
  const answer = await resolve('done');
  expect(await stateIn('dtx_notification')).toBe('PENDING');
  expect(await stateIn('dtx_tcc')).toBe('CONFIRMED');
  expect(answer).toMatchObject({ status: 200, body: { scheme: 'tcc', state: 'CONFIRMED' } });
});

test('a rejection of a parked notification does not withdraw a delayed message of its id', async () => {
  await insert.scheduled();
  await insert.notification('PARKED', NEVER);
  expect((await resolve('reject')).status).toBe(409);
  expect([await stateIn('dtx_outbox'), await stateIn('dtx_notification')]).toEqual(['SCHEDULED', 'PARKED']);
});

test('a delayed message is not rescheduled in place of a parked notification of its id', async () => {
  await insert.scheduled();
  await insert.notification('PARKED', NEVER);
  const before = await sql(sandbox, 'payment', 'SELECT next_attempt_at FROM dtx_outbox WHERE id = ?', [id]);
  expect((await call('POST', '/reschedule', { dueInMs: 7_200_000 })).status).toBe(409);
  const after = await sql(sandbox, 'payment', 'SELECT next_attempt_at FROM dtx_outbox WHERE id = ?', [id]);
  expect(after).toEqual(before);
});

test('a retry of a parked notification leaves a confirming TCC transaction of its id alone', async () => {
  await insert.tcc('CONFIRMING', SOON);
  await insert.notification('PARKED', NEVER);
  const answer = await call('POST', '/retry');
  expect(answer).toMatchObject({ status: 200, body: { scheme: 'notify', state: 'PENDING' } });
  expect(await stateIn('dtx_tcc')).toBe('CONFIRMING');
});

test('an open notification is shown and retried before a settled transaction of its id', async () => {
  await insert.tcc('CONFIRMED', 'NULL');
  await insert.notification('PENDING', SOON);
  expect((await call('GET')).body).toMatchObject({ scheme: 'notify', state: 'PENDING' });
  expect(await call('POST', '/retry')).toMatchObject({ status: 200, body: { scheme: 'notify' } });
});

test('a saga that waits for a signal without a limit goes before a settled transaction of its id', async () => {
  await insert.tcc('CONFIRMED', 'NULL');
  await insert.waitingSaga();
  expect((await call('GET')).body).toMatchObject({ scheme: 'saga', state: 'RUNNING', nextAttemptAt: null });
  expect(await call('POST', '/retry')).toMatchObject({ status: 200, body: { scheme: 'saga' } });
});

test('of two settled rows with one id the older one is shown, and an action answers 409', async () => {
  await insert.tcc('CONFIRMED', 'NULL');
  await insert.notification('DELIVERED', 'NULL');
  expect((await call('GET')).body).toMatchObject({ scheme: 'tcc', state: 'CONFIRMED' });
  for (const answer of [await call('POST', '/retry'), await resolve('done')])
    expect(answer).toMatchObject({ status: 409, body: { message: expect.stringContaining('already settled') } });
});

test('an id that no scheme knows answers 404 to each call', async () => {
  const answers = [await call('GET'), await call('POST', '/retry'), await resolve('done'), await resolve('reject')];
  answers.push(await call('POST', '/reschedule', { dueInMs: 0 }));
  expect(answers.map(({ status }) => status)).toEqual([404, 404, 404, 404, 404]);
});

test('the business data of an id is that of the row that is shown, and not of another scheme', async () => {
  await insert.waitingSaga();
  await sql(sandbox, 'payment', `UPDATE dtx_saga SET input = '{"of":"the saga"}' WHERE id = ?`, [id]);
  await insert.tcc('CONFIRMED', 'NULL');
  await insert.notification('CLOSED', 'NULL');
  await sql(sandbox, 'payment', `UPDATE dtx_notification SET body = '{"of":"the notification"}' WHERE id = ?`, [id]);
  expect((await call('GET')).body).toMatchObject({ scheme: 'saga' });
  expect((await call('GET', '/payload')).body).toMatchObject({ text: expect.stringContaining('the saga') });
  await sql(sandbox, 'payment', 'DELETE FROM dtx_saga WHERE id = ?', [id]);
  expect((await call('GET')).body).toMatchObject({ scheme: 'tcc' });
  expect((await call('GET', '/payload')).status).toBe(404);
});
