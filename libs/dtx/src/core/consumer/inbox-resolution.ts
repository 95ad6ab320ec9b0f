import type { EntityManager } from 'typeorm';
import { sqlOf } from '../database/sql-of.js';
import type { CommitHooks } from '../database/transaction.js';
import type { Outcome } from '../durable/durable-work.js';
import { settleFinal } from '../durable/settle.js';
import { Rejected } from '../errors/errors.js';
import type { HeldRow } from './inbox-row.js';
import { INBOX } from './inbox-table.js';

/** What the retry loop of the inbox offers to a person's word. */
interface Held {
  readonly hooks: CommitHooks;
  /** Runs the refusal path in `tx`. False when the consumer has none, or the message cannot be read. */
  refuse(tx: EntityManager, row: HeldRow, no: Rejected): Promise<boolean>;
  hasBeforeAck(row: HeldRow): boolean;
  receipt(row: HeldRow): Promise<void>;
}

/**
 * Settles a stored delivery at a person's word. `done` leaves the business as it is. `reject` commits the refusal with the
 * row, so that a later copy is a duplicate.
 */
export async function resolveHeld(
  held: Held,
  tx: EntityManager,
  row: HeldRow,
  { outcome, note }: { outcome: Outcome; note: string },
): Promise<boolean> {
  if (outcome === 'reject') return reject(held, tx, row, note);
  await settleFinal(sqlOf(tx), INBOX, { ids: [row.id], also: { sql: 'm.outcome = ?', values: ['by hand'] } });
  receiptAfterCommit(held, tx, row);
  return true;
}

async function reject(held: Held, tx: EntityManager, row: HeldRow, note: string): Promise<boolean> {
  // Its business is committed. Only the step before the ack is left, and that cannot be refused.
  if (row.settled_at) return false;
  if (!(await held.refuse(tx, row, new Rejected('REJECTED_BY_HAND', note)))) return false;
  if (!held.hasBeforeAck(row)) {
    const also = { sql: `m.attempts = 0, m.outcome = 'rejected by hand'`, values: [] };
    await settleFinal(sqlOf(tx), INBOX, { ids: [row.id], also });
    receiptAfterCommit(held, tx, row);
    return true;
  }
  // The row stays open for the step before the ack, and the loop sends the receipt.
  await sqlOf(tx).query(
    `UPDATE dtx_inbox SET state = 'RETRYING', before_ack = 1, next_attempt_at = UTC_TIMESTAMP(3), attempts = 0,
     outcome = 'rejected by hand', claim_token = NULL, settled_at = UTC_TIMESTAMP(3) WHERE id = ?`,
    [row.id],
  );
  return true;
}

/** A lost receipt is harmless: the sender resends, and the duplicate is receipted. */
function receiptAfterCommit({ hooks, receipt }: Held, tx: EntityManager, row: HeldRow): void {
  hooks.afterCommit(tx, async () => {
    void receipt(row).catch(() => {});
  });
}
