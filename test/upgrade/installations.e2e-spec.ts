import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { durableTables } from '../../libs/dtx/src/testing/index.js';
import { AlertSink } from '../fixtures/alert-sink.js';
import { Target } from '../fixtures/notification-target.js';
import { NOTIFY_SECRET } from '../fixtures/notifying-shop.js';
import { Operator } from '../fixtures/operator.js';
import { auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { APPS, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { decisions, preparedOf } from '../xa/branches-and-decisions.js';
import { INSTALLATIONS, type Installation } from './installation-files.js';
import { RECORDED_KEY, RECORDED_PURCHASE } from './recorded-work.js';
import { restore } from './restore-installation.js';

/** Each recorded installation of an earlier version is finished by the present one. See README.md of this folder. */
const build = process.env.DTX_UPGRADE_TO;

describe.each(readdirSync(INSTALLATIONS))('an installation of %s', (name) => {
  let sandbox: Sandbox;
  let shop: Stack;
  let installation: Installation;
  let merchant: Target;
  const alerts = new AlertSink();

  beforeAll(async () => {
    sandbox = await freshSandbox(`upgrade_${name}`);
    merchant = await Target.start();
    await alerts.up();
    installation = await restore(join(INSTALLATIONS, name), sandbox, { merchant: merchant.host });
    const env = {
      DTX_NOTIFY_SECRET: NOTIFY_SECRET,
      DTX_NOTIFY_ALLOW: merchant.host,
      DTX_ALERT_WEBHOOK: alerts.url,
    };
    shop = new Stack(sandbox, { env, ...(build ? { root: build } : {}) });
    await shop.start();
  });

  afterAll(async () => {
    await shop?.stop();
    await alerts.down();
    await merchant?.close();
  });

  test('the prepared branches follow their decision, and a branch without one is rolled back', async () => {
    await until('no branch is prepared', async () => (await preparedOf(sandbox)).length === 0);
    const gtrids = new Set(installation.branches.map(({ gtrid }) => gtrid));
    const decided = await until('every decision is DONE', async () => {
      const rows = (await decisions(sandbox)).filter(({ gtrid }) => gtrids.has(gtrid));
      return rows.length === 3 && rows.every(({ state }) => state === 'DONE') && rows;
    });
    expect(decided.map(({ decision }) => decision).sort()).toEqual(['COMMIT', 'ROLLBACK', 'ROLLBACK']);
    const paid = await sql(sandbox, 'payment', `SELECT buyer_id FROM payment WHERE buyer_id LIKE 'xa-%'`);
    expect(paid).toEqual([{ buyer_id: 'xa-decided' }]);
  });

  test('open rows settle without a person, and parked rows after a retry', { timeout: 180_000 }, async () => {
    for (const app of APPS) await settleParked(new Operator(shop, app));
    await until(
      'every row of every durable table is settled',
      async () => {
        const open = await openRows();
        if (open.length > 0) throw new Error(open.join(', '));
        return true;
      },
      { withinMs: 120_000 },
    );
  });

  async function settleParked(operator: Operator): Promise<void> {
    for (const { id, lastError } of await operator.parked()) {
      if (/not JSON/.test(lastError)) await operator.resolve(id, 'done');
      else await operator.retry(id);
    }
  }

  async function openRows(): Promise<string[]> {
    const found: string[] = [];
    for (const app of APPS) {
      const tables = (await sql(sandbox, app, 'SHOW TABLES')).map((row) => String(Object.values(row)[0]));
      for (const { name: table, openStates } of durableTables.filter((one) => tables.includes(one.name))) {
        const rows = await sql<{ id: string; state: string }>(
          sandbox,
          app,
          `SELECT id, state FROM ${table} WHERE state IN (?) AND next_attempt_at IS NOT NULL`,
          [[...openStates]],
        );
        found.push(...rows.map(({ id, state }) => `${app} ${table} ${id} ${state}`));
      }
    }
    return found;
  }

  test('the queues are empty, each message was handled once, and the audit finds nothing', async () => {
    const report = await auditOf(sandbox, 60_000);
    expect(report.checks.filter(({ ok }) => !ok)).toEqual([]);
    expect(report.ok).toBe(true);
    const takes = await sql(sandbox, 'inventory', 'SELECT order_id FROM stock_take WHERE times <> 1');
    expect(takes).toEqual([]);
  });

  test('the merchants have heard of each payment, and the alerts of the earlier version are delivered', async () => {
    const told = (path: string) => merchant.calls.some((one) => one.path === path);
    await until('all are told', () => ['/busy', '/gone', '/later'].every(told));
    await until('the alerts are delivered', async () => {
      const pending = await Promise.all(
        APPS.map((app) => sql(sandbox, app, `SELECT id FROM dtx_alert WHERE state = 'PENDING'`)),
      );
      return pending.flat().length === 0 && alerts.received.length > 0;
    });
  });

  test('an Idempotency-Key of the earlier version is answered with its purchase', async () => {
    const again = await shop.order(RECORDED_PURCHASE, RECORDED_KEY);
    const [known] = await sql<{ gid: string }>(
      sandbox,
      'order',
      'SELECT gid FROM dtx_idempotency WHERE idempotency_key = ?',
      [RECORDED_KEY],
    );
    expect(again.orderId).toBe(known!.gid);
    expect((await shop.settled(again.orderId)).status).toBe('CONFIRMED');
  });
});
