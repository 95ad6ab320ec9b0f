import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { auditLostTail } from '../../tools/src/audit/lost-tail/index.js';
import { exitCodeOf, reportLines } from '../../tools/src/audit/report-and-exit-code.js';
import { openDatabases } from '../../tools/src/sandbox/database-reader.js';
import { ROOT } from '../fixtures/app-process.js';
import { type AppName, auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { spawnForFile } from '../fixtures/spawned-processes.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { dtx } from '../schema/dtx-command.js';
import { openAlerts } from '../xa/branches-and-decisions.js';
import { buy } from '../xa/xa-purchase.js';

let sandbox: Sandbox;
let shop: Stack;
const body = { buyerId: 'alice', sku: 'book', quantity: 1 };
const bought: Record<'order' | 'xa' | 'tcc' | 'half', string> = { order: '', xa: '', tcc: '', half: '' };

beforeAll(async () => {
  sandbox = await freshSandbox('lost_tail', { audited: false });
  shop = new Stack(sandbox, { options: { xa: { timeoutMs: 1_000, logCheckIntervalMs: 500 } } });
  await shop.start();
  await Promise.all([shop.account('alice', 10_000_000), shop.stock('book', 1_000)]);
  bought.order = (await shop.order(body)).orderId;
  bought.xa = String((await buy(shop.of('order').url, undefined, body)).body.orderId);
  bought.tcc = String((await shop.send('payment', 'POST', '/checkouts', body)).body.orderId);
  bought.half = String((await shop.send('inventory', 'POST', '/flash-sales', body)).body.orderId);
  const isOver = async () => {
    const orders = await sql(sandbox, 'order', `SELECT order_id FROM orders WHERE status = 'CONFIRMED'`);
    const open = await Promise.all(
      (['order', 'payment', 'inventory'] as const).map((app) =>
        sql(sandbox, app, 'SELECT id FROM dtx_outbox WHERE next_attempt_at IS NOT NULL'),
      ),
    );
    const halves = await sql(sandbox, 'inventory', 'SELECT id FROM dtx_half WHERE next_attempt_at IS NOT NULL');
    const xa = await sql(sandbox, 'order', 'SELECT id FROM dtx_xa WHERE next_attempt_at IS NOT NULL');
    return orders.length === 4 && [...open, halves, xa].every((rows) => rows.length === 0);
  };
  await until('four purchases are over', isOver);
});

afterAll(() => shop?.stop());

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

/** The command as a user runs it, on the databases as they are. */
function audit(args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  const urls = Object.fromEntries(
    (['order', 'payment', 'inventory'] as const).map((app) => [
      `DTX_${app.toUpperCase()}_DATABASE_URL`,
      sandbox.databases[app],
    ]),
  );
  const given = { ...urls, DTX_RABBITMQ_URL: sandbox.rabbitmq, DTX_RABBITMQ_MANAGEMENT_URL: sandbox.management };
  const program = join(ROOT, 'tools', 'dist', 'commands', 'audit.js');
  const child = spawnForFile(process.execPath, [program, ...args], {
    cwd: ROOT,
    env: { ...process.env, ...given, ...env },
  });
  let output = '';
  for (const stream of [child.stdout!, child.stderr!])
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, output })));
}

const lost = ['--of', 'url', '--since', '30m'];

/** The same audit in this process, with a short second look. */
async function auditTail(): Promise<Ended> {
  const databases = await openDatabases(sandbox);
  try {
    const options = { sinceMs: Date.now() - 1_800_000, name: 'url', say: () => {}, staysMs: 500 };
    const result = await auditLostTail(databases, options);
    return { code: exitCodeOf([result]), output: reportLines(result).join('\n') };
  } finally {
    await databases.close();
  }
}

test('the audit of a deployment by URL holds before a failover', async () => {
  const whole = audit(['--of', 'url']);
  const { code, output } = await audit(lost);
  expect(await whole).toMatchObject({ code: 0, output: expect.stringContaining('all hold') });
  expect(output).not.toContain('BROKEN');
  expect(code).toBe(0);
});

test('a wrong time, a missing URL and an unreachable server are named', async () => {
  expect((await audit(['--of', 'url', '--since', 'yesterday'])).output).toMatch(/^--since "yesterday" is not a time/);
  expect((await audit(['--of', 'url', '--since', '2999-01-01T00:00:00Z'])).output).toMatch(/is in the future/);
  expect((await audit(['--of', 'url', '--since', '8d'])).output).toMatch(/is too long ago/);
  expect((await audit(lost, { DTX_ORDER_DATABASE_URL: '' })).output).toMatch(/^DTX_ORDER_DATABASE_URL is not set/);
  const noName = new URL('/', sandbox.databases.order).href;
  expect((await audit(lost, { DTX_ORDER_DATABASE_URL: noName })).output).toMatch(
    /^DTX_ORDER_DATABASE_URL names no database/,
  );
  const nowhere = await audit(lost, { DTX_ORDER_DATABASE_URL: 'mysql://app:s3cret@127.0.0.1:1/shop' });
  expect(nowhere).toMatchObject({
    code: 1,
    output: expect.stringMatching(/DTX_ORDER_DATABASE_URL: 127\.0\.0\.1:1 says: .*ECONNREFUSED/),
  });
  expect(nowhere.output).not.toContain('s3cret');
  const missing = Object.assign(new URL(sandbox.databases.order), { pathname: '/no_such' }).href;
  expect((await audit(lost, { DTX_ORDER_DATABASE_URL: missing })).output).toMatch(/no_such/);
});

/** The newest rows of a database are gone, as on a replica that lagged. Keeps what the migrations have written. */
async function loseTail(app: AppName, tables: readonly string[]): Promise<void> {
  for (const table of tables) await sql(sandbox, app, `DELETE FROM ${table}`);
}

test('what receivers have lost is listed with its ids, and a redrive brings it back', async () => {
  await loseTail('payment', ['dtx_inbox', `payment WHERE order_id IN ('${bought.order}', '${bought.half}')`]);
  await sql(sandbox, 'payment', 'UPDATE account SET balance = balance + 3998, captured = captured - 3998');
  const { code, output } = await auditTail();
  expect(code).toBe(1);
  expect(output).toMatch(/BROKEN +messages that a receiver lost +found 2/);
  for (const id of [bought.order, bought.half]) expect(output).toMatch(new RegExp(`${id} \\(.*\\) has no payment`));
  expect(output).toMatch(/what to do: npx nest-dtx redrive --since/);
  for (const app of ['order', 'payment', 'inventory'] as const)
    expect(await dtx(['redrive', '--since', '30m'], sandbox.databases[app])).toMatchObject({ code: 0 });
  await until('the payments are back', async () => {
    const rows = await sql(sandbox, 'payment', `SELECT order_id FROM payment WHERE status = 'CAPTURED'`);
    return rows.length === 4;
  });
  const { checks } = await auditOf(sandbox);
  expect(checks.filter(({ ok }) => !ok)).toEqual([]);
  expect(await auditTail()).toMatchObject({ code: 0 });
});

test('what the order app has lost is listed by kind, and the lost decision raises one alert', async () => {
  const { xa, tcc, order, half } = bought;
  expect(await openAlerts(sandbox)).toEqual([]);
  await loseTail('order', ['orders', 'dtx_outbox', 'dtx_inbox', 'dtx_tcc_barrier', `dtx_xa WHERE id NOT LIKE 'log%'`]);
  const alert = await until('the lost decision is reported', async () => (await openAlerts(sandbox))[0], {
    withinMs: 15_000,
  });
  expect(alert.subject).toBe('log.tail');
  expect(alert.error).toMatch(/is committed|has committed/);
  expect(await openAlerts(sandbox)).toHaveLength(1);
  const { code, output } = await auditTail();
  expect(code).toBe(1);
  for (const id of [xa, tcc, order, half]) expect(output).toMatch(new RegExp(`${id}: payment took 1999 of alice`));
  expect(output).toMatch(/BROKEN +XA witnesses without a decision +found 2/);
  expect(output).toMatch(/BROKEN +messages that a sender lost/);
  expect(output).toContain(`${tcc}: order.checkout has no Confirm`);
});
