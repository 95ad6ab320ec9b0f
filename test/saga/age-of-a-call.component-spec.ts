/** A call of a saga that becomes too old while it waits for the place of its step in the barrier. */
import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { statementsNow } from '../fixtures/running-statements.js';
import { sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { saga } from './saga-apps.js';
import { useSagaApps } from './saga-databases.js';
import { callsOf } from './stage.js';

const apps = useSagaApps('saga_age');
const [RETENTION_MS, CALL_MS, WAIT_MS] = [60_000, 40_000, 20_000];
/** A tenth of the retention is kept for the clocks, so a call is too old then. */
const OLD_MS = 0.9 * RETENTION_MS;
const INCARNATION = 'a1'.repeat(8);
const args = z.object({});
const send = saga.defineStep({ name: 'inventory.send', version: 1, args });
const charge = saga.defineStep({ name: 'inventory.charge', version: 1, args });

async function nowMs(): Promise<number> {
  const query = `SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000 AS ms`;
  return Number((await sql<{ ms: number }>(apps.sandbox, 'inventory', query))[0]!.ms);
}

it.each([
  ['an Undo', 'undo', send, 'compensable'],
  ['a fence', 'fence', charge, 'pivot'],
] as const)(
  '%s that becomes too old while it waits for a lock does not answer that its Do never runs',
  async (_, phase, contract, kind) => {
    const app = await apps.start({
      app: 'inventory',
      steps: [[send], [charge, { undo: null }]],
      options: { retentionMs: RETENTION_MS, callTimeoutMs: CALL_MS },
      core: { lockWaitSeconds: WAIT_MS / 1_000 },
    });
    const gid = randomUUID();
    const holder = app.source.createQueryRunner();
    await holder.startTransaction();
    await holder.query(
      `INSERT INTO dtx_saga_barrier (gid, step, phase, initiator, incarnation, op, created_at)
     VALUES (?, ?, 'do', 'inventory', ?, 'do', UTC_TIMESTAMP(3))`,
      [gid, contract.name, INCARNATION],
    );
    const since = (await nowMs()) - OLD_MS + 2_000;
    const about = { gid, incarnation: INCARNATION, saga: 'inventory.flow', since: new Date(since).toISOString() };
    const answer = callsOf(app).call(contract as never, { ...about, kind, phase }, CALL_MS);
    await until('the call waits', async () => (await statementsNow(apps.sandbox, 'inventory', `%${gid}%`)) > 0);
    expect((await nowMs()) - since).toBeLessThan(OLD_MS);
    await until('the call is too old', async () => (await nowMs()) - since > OLD_MS);
    await holder.rollbackTransaction();
    await holder.release();
    expect(await answer).toMatchObject({ verdict: 'illegal', reason: /older than saga.retentionMs/ });
    expect(await sql(apps.sandbox, 'inventory', 'SELECT gid FROM dtx_saga_barrier WHERE gid = ?', [gid])).toEqual([]);
  },
);
