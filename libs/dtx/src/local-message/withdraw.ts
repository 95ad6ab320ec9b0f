// The cancel of a delayed message, exact where the consumers share the database of the caller. All of it belongs to the
// caller's transaction. If the process dies before the commit, the message is as before.
import { WITHDRAWN } from '../core/consumer/inbox-table.js';
import { NOW_IN_ANY_SESSION } from '../core/database/clock-sql.js';
import type { Database } from '../core/database/database.service.js';
import type { TransactionGuard } from '../core/database/guarded-transaction.js';
import { insertFirst } from '../core/database/insert-first.js';
import { consumersIn } from '../core/durable/durable-table.js';
import { OutcomeUnknown } from '../core/errors/errors.js';
import { isLockWait } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import type { ContractName, WhichMessage } from './delay.js';
import type { DelayedRows, FoundMessage } from './delayed-rows.js';
import { failpoints, SCHEME } from './failpoints.js';

/**
 * The answer of `cancel`. CANCELLED and HANDLED are final: a repeated call has the same answer until the retention ends.
 * SENT may become HANDLED.
 * - CANCELLED: no consumer handles the message, if the caller's transaction commits.
 * - HANDLED: a consumer has handled it.
 * - SENT: it is on its way, and a consumer may still get it. Only for a consumer with another database, for a message
 *   that waits for an operator at its consumer or is older than `inbox.retentionMs`, and for the exchange of `publishTo`. It
 *   becomes HANDLED with the receipts.
 *   With `receipts: false` it stays SENT.
 * - NOT_FOUND: the contract has no such message.
 */
export type CancelAnswer = 'CANCELLED' | 'HANDLED' | 'SENT' | 'NOT_FOUND';

type PlaceAtConsumer = 'inserted' | 'retrying' | 'cancelled' | 'handled' | 'parked';

/** Withdraws messages. */
export class Withdrawal {
  /** @param app the name of this app. Its consumers have their inbox in this database */
  constructor(
    private readonly app: string,
    private readonly database: Database,
    private readonly rows: DelayedRows,
  ) {}

  /** @throws OutcomeUnknown if a consumer handles the message right now and takes longer than the lock wait of the session */
  async cancel(guard: TransactionGuard, contract: ContractName, which: WhichMessage): Promise<CancelAnswer> {
    if (await this.rows.cancel(guard, contract, which))
      return failpoint(failpoints.cancelled, async () => 'CANCELLED' as const);
    const found = await this.rows.find(guard, contract, which);
    if (!found) return 'NOT_FOUND';
    if (found.state === 'CANCELLED') return 'CANCELLED';
    const consumers = consumersIn(found.consumers).sort();
    const areOurs = consumers.length > 0 && consumers.every((one) => one.startsWith(`${this.app}.`));
    if (!areOurs || !found.isDelayed) return found.state === 'DONE' && found.hasReceipts ? 'HANDLED' : 'SENT';
    try {
      return await this.takePlaces(guard, contract, found, consumers);
    } catch (error) {
      if (!isLockWait(error)) throw error;
      throw new OutcomeUnknown(
        `cannot cancel message ${found.id} of ${contract.name}: a consumer is handling it; roll back and retry`,
        { cause: error },
      );
    }
  }

  /**
   * The message is on its way to consumers with this database. The first insert of the inbox row decides: that of
   * the handler with its business, or that of this transaction. While a handler runs, the insert waits for its end.
   */
  private async takePlaces(
    guard: TransactionGuard,
    contract: ContractName,
    found: FoundMessage,
    consumers: readonly string[],
  ): Promise<CancelAnswer> {
    const places: Taken[] = [];
    await failpoint(failpoints.cancelInboxed, async () => {
      for (const consumer of consumers) {
        const id = `${found.id}.${consumer}`;
        // guard: withdraw.inbox-place
        places.push({ id, consumer, place: await this.takePlace(guard, contract, found, { id, consumer }) });
      }
    });
    const isHandled = places.some((one) => one.place === 'handled' || isForgotten(one, found));
    const isLate = places.some(({ place }) => place === 'parked' || (place === 'inserted' && found.isOld));
    if (isHandled || isLate) {
      for (const { id, place } of places) if (place === 'inserted') await this.givePlaceBack(guard, id);
      return isHandled ? 'HANDLED' : 'SENT';
    }
    for (const { id, place } of places) if (place === 'retrying') await this.endRetry(guard, id);
    await this.rows.end(guard, found.id);
    return 'CANCELLED';
  }

  private async takePlace(
    guard: TransactionGuard,
    contract: ContractName,
    { id: message_id, gid, version }: FoundMessage,
    { id, consumer }: { id: string; consumer: string },
  ): Promise<PlaceAtConsumer> {
    const now = NOW_IN_ANY_SESSION;
    const row = { id, message_id, consumer, gid, scheme: SCHEME, type: `${contract.name}.v${version}` };
    const end = { state: 'HANDLED', outcome: WITHDRAWN, created_at: now, settled_at: now };
    if (await insertFirst(guard, this.inbox, { ...row, ...end })) return 'inserted';
    const [there]: Array<{ state: string; outcome: string | null; settled: number }> = await guard.query(
      `SELECT state, outcome, settled_at IS NOT NULL AS settled FROM ${this.inbox} WHERE id = ? FOR UPDATE`,
      [id],
    );
    if (there!.outcome === WITHDRAWN) return 'cancelled';
    if (there!.state === 'PARKED') return 'parked';
    // A RETRYING row with a time of settlement has committed its business. Only its step before the ack is left.
    return there!.state === 'RETRYING' && Number(there!.settled) === 0 ? 'retrying' : 'handled';
  }

  private async givePlaceBack(guard: TransactionGuard, id: string): Promise<void> {
    await guard.query(`DELETE FROM ${this.inbox} WHERE id = ?`, [id]);
  }

  /** Ends a delivery that waits for its next attempt. An attempt that has begun holds the lock of the row. */
  private async endRetry(guard: TransactionGuard, id: string): Promise<void> {
    await guard.query(
      `UPDATE ${this.inbox} SET state = 'HANDLED', outcome = ?, settled_at = ?, next_attempt_at = NULL, claim_token = NULL,
         \`body\` = NULL WHERE id = ?`,
      [WITHDRAWN, NOW_IN_ANY_SESSION, id],
    );
  }

  private get inbox(): string {
    return this.database.tableIn('dtx_inbox');
  }
}

/** The place at one consumer. */
interface Taken {
  readonly id: string;
  readonly consumer: string;
  readonly place: PlaceAtConsumer;
}

/** Whether the consumer has handled the message, and its inbox row is purged: its receipt has arrived. */
function isForgotten({ consumer, place }: Taken, { awaiting, hasReceipts }: FoundMessage): boolean {
  return place === 'inserted' && hasReceipts && !consumersIn(awaiting ?? '').includes(consumer);
}

/** A statement of the caller committed the row early, and its call fails. */
export function notWithdrawn(database: Database, id: string): OutcomeUnknown {
  return new OutcomeUnknown(
    `cannot withdraw message ${id} from ${database.names.inDatabase('dtx_outbox')}: it was claimed or sent meanwhile`,
  );
}
