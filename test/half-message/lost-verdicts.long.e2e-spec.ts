import { afterAll, beforeAll, expect, test } from 'vitest';
import { SHORT_TIMES } from '../crash-matrix/short-times.js';
import { Operator } from '../fixtures/operator.js';
import { expectAuditClean } from '../fixtures/purchase-checks.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { isSent, sell, sold, takes, verdicts } from './sale-and-verdict.js';

const options = { ...SHORT_TIMES, core: { ...SHORT_TIMES.core, purgeIntervalMs: 100 } };
let sandbox: Sandbox;
let shop: Stack;
let operator: Operator;

beforeAll(async () => {
  sandbox = await freshSandbox('lost_verdicts');
  shop = new Stack(sandbox, { options });
  operator = new Operator(shop, 'inventory');
  await shop.start();
  await Promise.all([shop.account('alice', 1_000_000), shop.stock('book', 100)]);
});

afterAll(() => shop?.stop());

test('a sale waits for an operator if the table of verdicts was emptied, and is sent by the operator’s retry', async () => {
  await shop.settled(await sold(shop.of('inventory'), 'before'));
  await until(
    'a verdict is remembered',
    async () => (await sql(sandbox, 'inventory', 'SELECT id FROM dtx_half_mark')).length > 0,
  );
  await until('all is sent', async () => (await verdicts(sandbox)).every(isSent));
  await shop.of('inventory').kill();
  const [dying] = await shop.start(['inventory'], { failpoints: 'half-message.committed=1*crash' });
  await sell(dying!, 'dies').catch(() => {}); // the answer dies with the process
  await dying!.untilExited();
  const rows = await sql<Record<string, unknown>>(sandbox, 'inventory', 'SELECT * FROM dtx_half');
  const verdict = rows.find(({ state }) => state === 'COMMITTED');
  const gid = String(verdict!.gid);
  await sql(sandbox, 'inventory', 'TRUNCATE dtx_half');

  await shop.start(['inventory']);
  const [fault] = await until('the fault is reported', async () => {
    const parked = (await operator.parked()).filter(({ id }) => id === 'verdicts.lost');
    return parked.length > 0 && parked;
  });
  expect(fault!.lastError).toMatch(/resolve \{"outcome":"done"\}/);
  expect(await operator.alertsOf('verdicts.lost')).toHaveLength(1);
  const copy = await until('its checks are used up', async () =>
    (await operator.parked()).find((one) => one.gid === gid),
  );
  expect(copy.lastError).toMatch(/unknown at check 3, the last one/);
  expect(await verdicts(sandbox, gid)).toEqual([]);
  expect(await takes(sandbox, gid)).toEqual([{ state: 'TAKEN', times: 1 }]);
  expect((await operator.resolve(copy.id, 'reject')).status).toBe(503);
  expect((await operator.resolve('verdicts.lost', 'reject')).status).toBe(409);

  const columns = Object.keys(verdict!);
  const values = rows.map((row) => columns.map((name) => row[name]));
  await sql(sandbox, 'inventory', `INSERT INTO dtx_half (${columns.join(', ')}) VALUES ?`, [values]);
  expect((await operator.resolve('verdicts.lost', 'done')).status).toBe(200);
  expect((await operator.retry(copy.id)).status).toBe(200);
  expect(await shop.settled(gid)).toMatchObject({ status: 'CONFIRMED' });
});

test('a sale whose process died before the commit is rolled back again once an operator has looked at the table', async () => {
  await until('another verdict is remembered', async () => {
    return (
      (await sql(sandbox, 'inventory', 'SELECT m.id FROM dtx_half_mark m JOIN dtx_half h ON h.id = m.id')).length > 0
    );
  });
  await shop.of('inventory').kill();
  const [dying] = await shop.start(['inventory'], { failpoints: 'half-message.prepared=1*crash' });
  await sell(dying!, 'dies-early').catch(() => {});
  await dying!.untilExited();
  await shop.start(['inventory']);
  await until('it is ruled back', async () => (await verdicts(sandbox)).some(({ state }) => state === 'ROLLED_BACK'));
  expect(await operator.parked()).toEqual([]);
  await expectAuditClean(shop);
});
