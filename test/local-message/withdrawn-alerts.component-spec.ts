// The alert "no receipt" of a message that its sender withdraws. Nothing else closes it: the row is CANCELLED, so neither an
// operator nor a receipt ends it.
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
const HOUR_MS = 3_600_000;
const RECEIPTS = 'dtx.payment.receipts.v1';
const failing = contractOf(library, 'failing');
let sandbox: Sandbox;
let service: LittleService;
let probe: QueueProbe;

const fail = () => {
  throw new Error('not yet');
};

beforeAll(async () => {
  sandbox = await freshSandbox('withdrawn_alerts', { audited: false });
  probe = await QueueProbe.open(sandbox);
  service = await LittleService.start({
    sandbox,
    library,
    controllers: [controllerOf([[library.OnMessage(failing), fail]])],
    localMessage: { absentMs: 200, attemptsMax: 10_000, resend: { firstMs: 100, factor: 1, capMs: 100 } },
    core: { inbox: { attemptsMax: 1_000, backoff: { firstMs: 600_000, factor: 1, capMs: 600_000 } } },
  });
});
afterAll(async () => {
  await service?.close();
  await probe?.close();
});

const messages = () => service.get(library.LocalMessages);
const append = (gid: string, options: { dueInMs: number; replace?: boolean }) =>
  service.source.transaction((tx) => messages().append(tx, failing, { gid }, { name: gid, ...options }));
const cancelIn = (tx: EntityManager, name: string) => messages().cancel(tx, failing, { name });

interface Alert {
  readonly alert_error: string;
  readonly open_key: string | null;
  readonly closed_s: number | null;
}
const ALERTS = `SELECT alert_error, open_key, TIMESTAMPDIFF(SECOND, closed_at, UTC_TIMESTAMP(3)) AS closed_s FROM dtx_alert
  WHERE subject_id = ?`;
const alertsOf = (id: string) => sql<Alert>(sandbox, 'payment', ALERTS, [id]);
const stateOf = async (id: string) =>
  (await sql<{ state: string }>(sandbox, 'payment', 'SELECT state FROM dtx_outbox WHERE id = ?', [id]))[0]!.state;
const OPEN = { closed_s: null, open_key: expect.any(String) };
const CLOSED = { closed_s: expect.any(Number), open_key: null };

/** A message that was sent, whose handler keeps failing, and whose sender has raised the alert. */
async function silent(gid: string): Promise<string> {
  const id = await append(gid, { dueInMs: 0 });
  await until('its alert is open', async () => (await alertsOf(id)).length === 1);
  expect(await alertsOf(id)).toMatchObject([{ ...OPEN, alert_error: expect.stringMatching(/^no receipt/) }]);
  return id;
}

test('a cancel closes the alert of the sent message in its own transaction', async () => {
  const id = await silent('cancelled');
  await service.source.transaction(async (tx) => {
    expect(await cancelIn(tx, 'cancelled')).toBe('CANCELLED');
    expect(await tx.query(ALERTS, [id])).toMatchObject([{ open_key: null }]);
  });
  expect(await stateOf(id)).toBe('CANCELLED');
  expect(await alertsOf(id)).toMatchObject([CLOSED]);
});

test('an append with replace closes the alert of the message that it replaces', async () => {
  const id = await silent('replaced');
  await append('replaced', { dueInMs: HOUR_MS, replace: true });
  expect([await stateOf(id), await alertsOf(id)]).toMatchObject(['CANCELLED', [CLOSED]]);
});

test('a cancel that is rolled back leaves the alert open', async () => {
  const id = await silent('kept');
  const rolledBack = service.source.transaction(async (tx) => {
    expect(await cancelIn(tx, 'kept')).toBe('CANCELLED');
    throw new Error('roll back');
  });
  await expect(rolledBack).rejects.toThrow('roll back');
  expect(await alertsOf(id)).toMatchObject([OPEN]);
});

test('a cancel closes the alert by the clock in UTC, in a session with another database and zone', async () => {
  const id = await silent('elsewhere');
  await service.source.transaction(async (tx) => {
    await tx.query(`SET time_zone = '+09:00'`);
    await tx.query('USE information_schema');
    expect(await cancelIn(tx, 'elsewhere')).toBe('CANCELLED');
    await tx.query(`USE ${new URL(sandbox.databases.payment).pathname.slice(1)}`);
    await tx.query('SET time_zone = DEFAULT');
  });
  const [alert] = await alertsOf(id);
  expect(alert).toMatchObject(CLOSED);
  expect(Math.abs(alert!.closed_s!)).toBeLessThan(60);
});

test('a cancel of a parked message keeps its alert, which an operator ends', async () => {
  const id = await silent('parked');
  await sql(sandbox, 'payment', `UPDATE dtx_outbox SET state = 'PARKED', next_attempt_at = '9999-12-31' WHERE id = ?`, [
    id,
  ]);
  await service.source.transaction((tx) => cancelIn(tx, 'parked'));
  expect([await stateOf(id), await alertsOf(id)]).toMatchObject(['PARKED', [OPEN]]);
});

/** An outbox row of a delayed message in this state. It is not due. */
async function leaveRow(state: string): Promise<string> {
  const id = randomUUID();
  await sql(
    sandbox,
    'payment',
    `INSERT INTO dtx_outbox
       (id, gid, contract, version, payload, awaiting, consumers, state, created_at, scheduled_at, next_attempt_at)
     VALUES (?, 'left', 'test.failing', 1, '{}', ',payment.failing,', ',payment.failing,', ?, UTC_TIMESTAMP(3),
       UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) + INTERVAL 1 HOUR)`,
    [id, state],
  );
  return id;
}

/** As `leaveRow`, with an alert that is open. */
async function leave(state: string): Promise<string> {
  const id = await leaveRow(state);
  await leaveAlert(id);
  return id;
}

const alertOf = (subject: string): [string, string[]] => [
  `INSERT INTO dtx_alert (id, open_key, scheme, subject_id, step, state, alert_error, opened_at)
   VALUES (?, ?, 'local-message', ?, 'receipt', 'LOGGED', 'left open', UTC_TIMESTAMP(3))`,
  [randomUUID(), `local-message:${subject}`, subject],
];
const leaveAlert = (subject: string) => sql(sandbox, 'payment', ...alertOf(subject));
const receive = (...ids: string[]) => {
  const receipts = ids.map((messageId) => ({ messageId, consumer: 'payment.failing', outcome: 'HANDLED' }));
  return probe.publish(RECEIPTS, JSON.stringify({ receipts }));
};

test('a receipt closes the alert that the cancel of an earlier version left open', async () => {
  const id = await leave('CANCELLED');
  await receive(id);
  await until('the alert is closed', async () => (await alertsOf(id))[0]!.closed_s !== null);
  expect([await stateOf(id), await alertsOf(id)]).toMatchObject(['CANCELLED', [CLOSED]]);
});

test('a receipt that names the subject of another alert of the scheme does not close it', async () => {
  // Of a parked delivery, and of a queue without a consumer.
  const others = [`${randomUUID()}.payment.failing`, 'dtx.payment.failing.v1'];
  for (const subject of others) await leaveAlert(subject);
  const last = await leave('SENT');
  await receive(...others, last);
  await until('the receipts are recorded', async () => (await alertsOf(last))[0]!.closed_s !== null);
  for (const subject of others) expect(await alertsOf(subject)).toMatchObject([OPEN]);
});

test('a cancel of a message without an alert keeps no session from raising another one', async () => {
  const id = await leaveRow('SENT');
  const next = `${id}.payment.failing`;
  await service.source.transaction('REPEATABLE READ', async (tx) => {
    expect(await messages().cancel(tx, failing, { id })).toBe('CANCELLED');
    // Its lock wait ends after a second.
    await service.get(library.Database).own.query(...alertOf(next));
  });
  expect([await stateOf(id), await alertsOf(next)]).toMatchObject(['CANCELLED', [OPEN]]);
});
