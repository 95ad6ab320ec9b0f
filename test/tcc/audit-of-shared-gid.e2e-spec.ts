import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { type AppName, auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { LittleApp, libraryOf, participantOf } from './little-app.js';

/** One gid, two transactions: of payment and of order, each with the same participant of inventory. */
const GID = 'shared';
const APPS = ['inventory', 'payment', 'order'] as const;
let sandbox: Sandbox;
const running: LittleApp[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_audit', { audited: false });
  const library = libraryOf();
  const contract = library.decorators.defineParticipant({ name: 'inventory.pick', version: 1, args: z.object({}) });
  for (const app of APPS) {
    const providers = app === 'inventory' ? [participantOf(library, contract, {})] : [];
    running.push(await LittleApp.start({ sandbox, library, app, providers }));
  }
  const [, payment, order] = running;
  for (const initiator of [payment!, order!]) await initiator.tcc.run({ gid: GID }, (t) => t.call(contract, {}));
  const isMarked = async (app: AppName) =>
    (await sql(sandbox, app, `SELECT 1 FROM dtx_tcc WHERE state = 'CONFIRMED'`)).length;
  await until('both are marked', async () => (await isMarked('payment')) + (await isMarked('order')) === 2);
});
afterAll(() => Promise.all(running.map((app) => app.close())));

async function violations(): Promise<string[]> {
  const { checks } = await auditOf(sandbox);
  return checks.find(({ name }) => name === 'tcc')!.violations;
}

test('the audit pairs the rows of two transactions of one gid by their names', async () => {
  expect(await violations()).toEqual([]);
});

test('the audit finds a missing row of one of two transactions of a gid', async () => {
  const of = `gid = '${GID}' AND phase = 'second' AND initiator = 'order'`;
  await sql(sandbox, 'inventory', 'CREATE TABLE kept AS SELECT * FROM dtx_tcc_barrier WHERE initiator = ?', ['order']);
  await sql(sandbox, 'inventory', `DELETE FROM dtx_tcc_barrier WHERE ${of}`);
  expect(await violations()).toEqual([
    `transaction ${GID} is CONFIRMED, but inventory.pick has let through: try`,
    `inventory: ${GID}.0 was tried, but neither confirmed nor cancelled`,
  ]);
  await sql(sandbox, 'inventory', `DELETE FROM dtx_tcc_barrier WHERE initiator = 'order'`);
  await sql(sandbox, 'inventory', `INSERT INTO dtx_tcc_barrier SELECT * FROM kept WHERE phase = 'second'`);
  expect(await violations()).toContain(`inventory: the barrier of ${GID}.0 has let through nothing, then confirm`);
  await sql(sandbox, 'inventory', `INSERT INTO dtx_tcc_barrier SELECT * FROM kept WHERE phase = 'try'`);
  expect(await violations()).toEqual([]);
});

test('the audit accepts an open Try of a transaction that an operator has closed by hand, and of no other', async () => {
  await sql(sandbox, 'inventory', `CREATE TABLE second AS SELECT * FROM dtx_tcc_barrier WHERE phase = 'second'`);
  await sql(sandbox, 'inventory', `DELETE FROM dtx_tcc_barrier WHERE phase = 'second'`);
  const close = (id: string, action: string) =>
    sql(
      sandbox,
      'order',
      `INSERT INTO dtx_operation (id, scheme, subject_id, action, at) VALUES (UUID(), 'tcc', ?, ?, UTC_TIMESTAMP(3))`,
      [id, action],
    );
  const open = `inventory: ${GID}.0 was tried, but neither confirmed nor cancelled`;
  const openOnes = async () => (await violations()).filter((one) => one === open).length;
  await close(GID, 'retry');
  await close('another', 'done');
  expect(await openOnes()).toBe(2);
  await close(GID, 'done');
  // That of payment is left.
  expect(await openOnes()).toBe(1);
  expect(await violations()).not.toContain(
    `transaction ${GID} is CONFIRMED, but inventory.pick has let through: nothing`,
  );
  await sql(sandbox, 'order', 'DELETE FROM dtx_operation');
  await sql(sandbox, 'inventory', 'INSERT INTO dtx_tcc_barrier SELECT * FROM second');
  expect(await violations()).toEqual([]);
});

test('the audit pairs a row of this version with one of the version before', async () => {
  await sql(sandbox, 'inventory', `DELETE FROM dtx_tcc_barrier WHERE initiator = 'order'`);
  const old = `UPDATE dtx_tcc_barrier SET initiator = '-', incarnation = '-' WHERE phase = `;
  await sql(sandbox, 'inventory', `${old} 'second'`);
  await sql(sandbox, 'order', `DELETE FROM dtx_tcc`);
  expect(await violations()).toEqual([]);
});
