// An operator settles a message by hand. Runs in the transaction that holds the lock on its row.
import type { Sql } from '../core/database/sql-executor.js';
import type { TableRow } from '../core/durable/durable-table.js';
import type { Outcome } from '../core/durable/durable-work.js';
import { settleFinal } from '../core/durable/settle-or-park.js';
import { OUTBOX } from './outbox-table.js';

/**
 * `done`: nothing is left to send. `reject`: a delayed message that no process has claimed is withdrawn. Returns false for
 * any other message, which a consumer may have.
 */
export async function resolveMessage(sql: Sql, row: TableRow, outcome: Outcome): Promise<boolean> {
  // The retention of a delayed message counts from its end, and not from its due time.
  const also = { sql: 'm.created_at = LEAST(m.created_at, UTC_TIMESTAMP(3))', values: [] };
  if (outcome === 'done') {
    await settleFinal(sql, OUTBOX, { ids: [row.id], also });
    return true;
  }
  if (row.state !== 'SCHEDULED' || row.claim_token !== null) return false;
  await settleFinal(sql, OUTBOX, { ids: [row.id], state: `'CANCELLED'`, also });
  return true;
}
