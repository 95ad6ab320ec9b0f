import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { DataSource } from 'typeorm';
import { expect } from 'vitest';
import { sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import type { Claim } from './scenario.js';
import type { Stage } from './scenario-stage.js';

type Modules = typeof import('../../libs/dtx/src/core/database/migrate.js') &
  typeof import('../../libs/dtx/src/core/database/pinned-session-pool.js') &
  typeof import('../../libs/dtx/src/core/durable/claim-and-reschedule.js') &
  typeof import('../../libs/dtx/src/core/durable/settle-or-park.js') &
  typeof import('../../libs/dtx/src/local-message/outbox-table.js');

/**
 * The build's own modules. From outside, a fence shows itself only by luck, so it is driven directly, against the real
 * database. Node loads the modules, as it does for the apps, because vitest would load their sources.
 */
function modulesOf(root: string): Modules {
  const files = [
    'core/database/migrate.js',
    'core/database/pinned-session-pool.js',
    'core/durable/claim-and-reschedule.js',
    'core/durable/settle-or-park.js',
    'local-message/outbox-table.js',
  ];
  const load = createRequire(import.meta.url);
  return Object.assign({}, ...files.map((file) => load(join(root, 'libs', 'dtx', 'dist', file))));
}

async function oneDueRow(source: DataSource): Promise<void> {
  await source.query(
    `INSERT INTO dtx_outbox (id, gid, contract, version, payload, awaiting, state, next_attempt_at, created_at)
     VALUES (?, 'gid', 'order.placed', 1, '{}', ',inventory.take-stock,', 'PENDING', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
    [randomUUID()],
  );
}

/** One claimant is slow. Its lease expires and another one claims the row. Then the slow one settles it. */
export async function twoClaims(stage: Stage): Promise<Claim> {
  const { migrate, poolBeside, claimDue, reschedule, park, OUTBOX, outboxMigrations } = modulesOf(stage.root);
  const source = await new DataSource({ type: 'mysql', url: stage.sandbox.databases.order }).initialize();
  const pool = poolBeside(source, ['SELECT 1'], { size: 2, queueMax: 10 });
  stage.keep({ close: () => pool.end().then(() => source.destroy()) });
  await migrate(source, 'dtx-local-message', outboxMigrations);
  await oneDueRow(source);
  const [slow] = await claimDue(pool, OUTBOX, { limit: 10, leaseMs: 20 });
  const [holder] = await until('the lease has expired', async () => {
    const rows = await claimDue(pool, OUTBOX, { limit: 10, leaseMs: 600_000 });
    return rows.length > 0 && rows;
  });
  expect(holder!.id).toBe(slow!.id);
  const claimed = await sql(stage.sandbox, 'order', 'SELECT * FROM dtx_outbox');
  const failed = { error: 'too late', delayMs: 1, attempts: 7 };
  return async () => {
    const settled = [await reschedule(pool, OUTBOX, slow!, failed), await park(pool, OUTBOX, slow!, failed)];
    expect(settled, 'settled under a claim that was lost').toEqual([false, false]);
    expect(await sql(stage.sandbox, 'order', 'SELECT * FROM dtx_outbox')).toEqual(claimed);
    expect(await reschedule(pool, OUTBOX, holder!, failed)).toBe(true);
  };
}
