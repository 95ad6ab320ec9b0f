import type { EntityManager } from 'typeorm';
import type { CommitHooks } from '../database/commit-hooks.js';
import { sqlOf } from '../database/transaction-sql-executor.js';
import type { Outcome } from '../durable/durable-work.js';
import { settleFinal } from '../durable/settle-or-park.js';
import { Rejected } from '../errors/errors.js';
import { INBOX } from './inbox-table.js';
import type { InboxRow } from './message-from-inbox-row.js';

/** The parts of the retry loop that an operator action needs. */
interface RetryParts {
  readonly hooks: CommitHooks;
  /** Runs `@OnRejected` in `tx`. Returns false if the consumer has none, or if the message is unreadable. */
  refuse(tx: EntityManager, row: InboxRow, no: Rejected): Promise<boolean>;
  hasBeforeAck(row: InboxRow): boolean;
  receipt(row: InboxRow): Promise<void>;
}

/**
 * Resolves a stored delivery by an operator. `done` leaves the business unchanged. `reject` commits the refusal with
 * the row, so that a later duplicate finds it. If the process dies after the commit, the receipt is lost. The sender
 * then sends again, and the duplicate is receipted.
 */
export async function resolveDelivery(
  parts: RetryParts,
  tx: EntityManager,
  row: InboxRow,
  { outcome, note }: { outcome: Outcome; note: string },
): Promise<boolean> {
  if (outcome === 'reject') return reject(parts, tx, row, note);
  await settleFinal(sqlOf(tx), INBOX, { ids: [row.id], also: { sql: 'm.outcome = ?', values: ['by hand'] } });
  receiptAfterCommit(parts, tx, row);
  return true;
}

async function reject(parts: RetryParts, tx: EntityManager, row: InboxRow, note: string): Promise<boolean> {
  // The business is committed. Only `@BeforeAck` remains, and it cannot be rejected.
  if (row.settled_at) return false;
  if (!(await parts.refuse(tx, row, new Rejected('REJECTED_BY_HAND', note)))) return false;
  if (!parts.hasBeforeAck(row)) {
    const also = { sql: `m.attempts = 0, m.outcome = 'rejected by hand'`, values: [] };
    await settleFinal(sqlOf(tx), INBOX, { ids: [row.id], also });
    receiptAfterCommit(parts, tx, row);
    return true;
  }
  // The row stays open for `@BeforeAck`. The retry loop then sends the receipt.
  await sqlOf(tx).query(
    `UPDATE dtx_inbox SET state = 'RETRYING', before_ack = 1, next_attempt_at = UTC_TIMESTAMP(3), attempts = 0,
     outcome = 'rejected by hand', claim_token = NULL, settled_at = UTC_TIMESTAMP(3) WHERE id = ?`,
    [row.id],
  );
  return true;
}

/** A lost receipt is harmless. The sender resends, and the duplicate is receipted. */
function receiptAfterCommit({ hooks, receipt }: RetryParts, tx: EntityManager, row: InboxRow): void {
  hooks.afterCommit(tx, async () => {
    void receipt(row).catch(() => {});
  });
}
