import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectProblem } from '../fixtures/expect-problem.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';

let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('operations_record', { audited: false });
  shop = new Stack(sandbox);
  await shop.start(['inventory']);
});

afterAll(() => shop?.stop());

test('every action of an operator is on record with its time and reason', async () => {
  const id = 'order.placed.audited.inventory.take-stock';
  await sql(
    sandbox,
    'inventory',
    `INSERT INTO dtx_inbox (id, message_id, consumer, gid, scheme, type, state, next_attempt_at, created_at, body)
     VALUES (?, 'audited', 'inventory.take-stock', 'g', 'local-message', 'order.placed.v1', 'PARKED', '9999-12-31', UTC_TIMESTAMP(3), 'x')`,
    [id],
  );
  const by = { 'dtx-operator': 'carol' };
  const path = `/dtx/transactions/${id}/resolve`;
  const answer = await shop.send('inventory', 'POST', path, { outcome: 'done', note: 'counted by hand' }, by);
  expect(answer.status).toBe(200);
  expect(JSON.stringify(answer.body.timeline)).toContain('done by carol: counted by hand');
  const wrong = { 'dtx-operator': 'x'.repeat(65) };
  expectProblem(
    await shop.send('inventory', 'POST', path, { outcome: 'done', note: 'x' }, wrong),
    400,
    'header.DTX-Operator',
  );
});
