import { afterAll, beforeAll, expect, test } from 'vitest';
import { AlertSink } from '../fixtures/alert-sink.js';
import { logLines } from '../fixtures/app-logs.js';
import { Operator } from '../fixtures/operator.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const sink = new AlertSink();
let sandbox: Sandbox;
let shop: Stack;
let probe: QueueProbe;
let inventory: Operator;

beforeAll(async () => {
  sandbox = await freshSandbox('operations_alerts');
  await sink.up();
  shop = new Stack(sandbox, { env: { DTX_ALERT_WEBHOOK: sink.url }, options: { core: { scanIntervalMs: 100 } } });
  await shop.start();
  await shop.start(['inventory']); // a second instance, which must not tell it a second time
  await shop.account('alice', 1_000_000);
  await shop.stock('book', 100);
  probe = await QueueProbe.open(sandbox);
  inventory = new Operator(shop, 'inventory');
});

afterAll(async () => {
  await probe?.close();
  await shop?.stop();
  await sink.down();
});

/** Parks a message that cannot be read; gives the id of its row. */
async function park(messageId: string): Promise<string> {
  const receipt = await probe.deliver('dtx.inventory.take-stock.v1', 'nonsense', {
    messageId,
    type: 'order.placed.v1',
  });
  expect(receipt.outcome).toBe('PARKED');
  return `${messageId}.inventory.take-stock`;
}

interface AlertRow {
  state: string;
  attempts: number;
  last_error: string | null;
}
const rowsOf = (subject: string) =>
  sql<AlertRow>(
    sandbox,
    'inventory',
    'SELECT state, attempts, last_error FROM dtx_alert WHERE subject_id = ? ORDER BY id',
    [subject],
  );

/** Told, and so never told again: nothing is due any more. */
const untilTold = (subject: string, incidents = 1) =>
  until(`the alert of ${subject} is posted`, async () => {
    const rows = await rowsOf(subject);
    return rows.length === incidents && rows.every(({ state }) => state === 'DELIVERED');
  });

const failedOnce = (subject: string) =>
  until('telling it has failed', async () => (await rowsOf(subject)).some(({ attempts }) => attempts > 0));

/** Of what the sink knows nothing yet, whatever the time: a purchase settles nevertheless. */
async function expectPurchaseBefore(untold: string): Promise<void> {
  const { orderId } = await shop.order({ buyerId: 'alice', sku: 'book', quantity: 1 });
  expect(await shop.settled(orderId)).toMatchObject({ status: 'CONFIRMED' });
  expect((await rowsOf(untold))[0]!.state).toBe('PENDING');
}

test('an incident is posted once with all fields of the contract', async () => {
  const subject = await park('first');
  await untilTold(subject);
  await probe.deliver('dtx.inventory.take-stock.v1', 'nonsense', { messageId: 'first', type: 'order.placed.v1' });
  const [alert] = await inventory.alertsOf(subject);
  expect(sink.about(subject)).toEqual([
    {
      path: '/alerts',
      answered: 204,
      type: expect.stringMatching(/^application\/json/),
      body: {
        app: 'inventory',
        id: alert!.id,
        scheme: 'unknown',
        subject,
        gid: null,
        step: expect.stringContaining('inventory.take-stock'),
        lastError: expect.stringContaining('not JSON'),
        retry: `POST /dtx/transactions/${subject}/retry`,
      },
    },
  ]);
});

test('each time that a row gives up posts an incident of its own', async () => {
  const subject = await park('again');
  await untilTold(subject);
  expect((await inventory.retry(subject)).status).toBe(200);
  await untilTold(subject, 2);
  const ids = sink.about(subject).map(({ body }) => body.id);
  expect([ids.length, new Set(ids).size]).toEqual([2, 2]);
});

test('a sink that is down delays nothing and gets each incident once when it is up', async () => {
  await sink.down();
  const subject = await park('down');
  await failedOnce(subject);
  await expectPurchaseBefore(subject);
  expect(await inventory.alertsOf(subject)).toEqual([expect.objectContaining({ closedAt: null })]);
  expect(sink.about(subject)).toEqual([]);
  await sink.up();
  await untilTold(subject);
  expect(sink.about(subject)).toHaveLength(1);
});

test('an error or a redirect of the sink leads to another post to the same URL', async () => {
  sink.reply = (_, nth) => [500, 302][nth] ?? 200;
  const subject = await park('wrong');
  await untilTold(subject);
  const calls = sink.about(subject).map(({ path, answered }) => [path, answered]);
  expect(calls).toEqual([500, 302, 200].map((answered) => ['/alerts', answered]));
  expect(new Set(sink.about(subject).map(({ body }) => body.id)).size).toBe(1);
});

test('a hanging sink delays neither purchases nor other alerts', async () => {
  let hangs = true;
  sink.reply = (subject) => (hangs && subject === 'hanging.inventory.take-stock' ? 'hang' : 200);
  const hanging = await park('hanging');
  await until('the call hangs', () => sink.about(hanging).length > 0);
  await expectPurchaseBefore(hanging);
  const other = await park('other');
  await untilTold(other);
  expect((await rowsOf(hanging))[0]!.state).toBe('PENDING');
  hangs = false;
  await untilTold(hanging);
  for (const subject of [hanging, other]) {
    expect(sink.about(subject).filter(({ answered }) => answered === 200)).toHaveLength(1);
  }
});

test('every incident is in the log once, and all can be closed', async () => {
  const lines = shop.instances.flatMap((instance) => logLines(instance)).filter(({ level }) => level === 'error');
  const parked = await inventory.parked();
  expect(parked).toHaveLength(6);
  for (const { id } of parked) {
    const incidents = (await inventory.alertsOf(id)).length;
    expect(lines.filter(({ message }) => message.includes(`PARKED unknown ${id} `))).toHaveLength(incidents);
    expect((await inventory.resolve(id, 'done')).status).toBe(200);
  }
  const report = await auditOf(sandbox);
  expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
  expect([report.ok, report.parked]).toEqual([true, []]);
});
