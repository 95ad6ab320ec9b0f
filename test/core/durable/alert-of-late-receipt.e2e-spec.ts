// A receipt that comes after the alert "no receipt" ends the row and closes the alert: two statements of one packet.
import { randomUUID } from 'node:crypto';
import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { AppProcess } from '../../fixtures/app-process.js';
import { leaveBehind } from '../../fixtures/left-behind-message.js';
import { QueueProbe, type Receipt } from '../../fixtures/queue-probe.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { Stack } from '../../fixtures/three-apps.js';
import { until } from '../../fixtures/until.js';

const [FIRST, SECOND] = ['payment.nobody', 'inventory.nobody'];
let sandbox: Sandbox;
let shop: Stack;
let order: AppProcess;
let probe: QueueProbe;

beforeAll(async () => {
  sandbox = await freshSandbox('late_receipt', { audited: false });
  // A lock wait outlasts the kill.
  shop = new Stack(sandbox, { options: { core: { lockWaitSeconds: 60, statementTimeoutMs: 60_000 } } });
  [order] = (await shop.start(['order'])) as [AppProcess];
  probe = await QueueProbe.open(sandbox);
});
afterAll(async () => {
  await probe?.close();
  await shop?.stop();
});

/** A sent row that waits for the receipts of two consumers, with the alert of a long silence. */
async function silentRow(): Promise<string> {
  const id = await leaveBehind(sandbox, { app: 'order', contract: 'test.nobody', consumer: `${FIRST},${SECOND}` });
  await sql(
    sandbox,
    'order',
    `INSERT INTO dtx_alert (id, open_key, scheme, subject_id, step, state, alert_error, opened_at)
     VALUES (?, ?, 'local-message', ?, 'receipt', 'LOGGED', 'no receipt', UTC_TIMESTAMP(3))`,
    [randomUUID(), `local-message:${id}`, id],
  );
  await sql(
    sandbox,
    'order',
    `UPDATE dtx_outbox SET state = 'SENT', sent_at = UTC_TIMESTAMP(3), claim_token = NULL,
       next_attempt_at = UTC_TIMESTAMP(3) + INTERVAL 1 HOUR WHERE id = ?`,
    [id],
  );
  return id;
}

const receive = (receipt: Receipt) => probe.publish('dtx.order.receipts.v1', JSON.stringify({ receipts: [receipt] }));

async function shown(id: string) {
  const rows = await sql<{ state: string; awaiting: string; isOpen: number }>(
    sandbox,
    'order',
    `SELECT m.state, m.awaiting, a.closed_at IS NULL AS isOpen FROM dtx_outbox m
     JOIN dtx_alert a ON a.subject_id = m.id WHERE m.id = ?`,
    [id],
  );
  return rows.map(({ state, awaiting, isOpen }) => `${state} ${awaiting} ${isOpen ? 'open' : 'closed'}`);
}

/** Keeps the alert from being closed. Ends each session that waits for it, as the server does when it finds its client dead. */
async function holdAlert(id: string) {
  const connection = await createConnection(sandbox.databases.order);
  onTestFinished(() => connection.destroy());
  await connection.beginTransaction();
  await connection.query('SELECT id FROM dtx_alert WHERE subject_id = ? FOR UPDATE', [id]);
  const waiting = () =>
    sql<{ id: number }>(
      sandbox,
      'order',
      `SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE 'UPDATE dtx_alert a%'`,
    );
  return {
    untilWaitedFor: () => until('a receipt waits for the alert', async () => (await waiting()).length > 0),
    endSessions: async () => {
      for (const session of await waiting()) await connection.query(`KILL ${Number(session.id)}`).catch(() => {});
      await until('no session waits', async () => (await waiting()).length === 0);
    },
    letGo: () => connection.rollback(),
  };
}

test('the alert stays open until the last receipt, which closes it', async () => {
  const id = await silentRow();
  await receive({ messageId: id, consumer: FIRST, outcome: 'HANDLED' });
  await until('the first is recorded', async () => (await shown(id))[0] !== `SENT ,${FIRST},${SECOND}, open`);
  expect(await shown(id)).toEqual([`SENT ,${SECOND}, open`]);
  await receive({ messageId: id, consumer: SECOND, outcome: 'PARKED' });
  await until('the row is done', async () => (await shown(id))[0] === 'DONE , closed');
});

test('kill -9 between the end of the row and that of its alert: the receipt comes again and closes the alert', async () => {
  const id = await silentRow();
  await receive({ messageId: id, consumer: FIRST, outcome: 'HANDLED' });
  await until('the first is recorded', async () => (await shown(id))[0] === `SENT ,${SECOND}, open`);
  const held = await holdAlert(id);
  await receive({ messageId: id, consumer: SECOND, outcome: 'HANDLED' });
  await held.untilWaitedFor();
  await order.kill();
  await held.endSessions();
  await held.letGo();
  // The control: without the receipt that comes again, the alert would stay open for good.
  expect(await shown(id)).toEqual(['DONE , open']);
  await shop.start(['order']);
  await until('the alert is closed', async () => (await shown(id))[0] === 'DONE , closed');
});
