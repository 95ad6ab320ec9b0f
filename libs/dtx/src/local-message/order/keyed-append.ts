// Step 1 of 6 for a contract with `inOrderOf` - the message gets the next place of its key in the caller's transaction. The
// row of the key stays locked until the COMMIT, so places have the order of the commits. If the process dies before the
// COMMIT, neither place nor message exists. If it dies after, the scan finds the message when its lease expires.
import { Inject, Injectable } from '@nestjs/common';
import type { OrderPlace } from '../../core/broker/ordered-messages.js';
import { clockStopped, NOW_IN_ANY_SESSION } from '../../core/database/clock-sql.js';
import { Database } from '../../core/database/database.service.js';
import type { TransactionGuard } from '../../core/database/guarded-transaction.js';
import { inFuture } from '../../core/durable/claim-and-reschedule.js';
import { OutcomeUnknown } from '../../core/errors/errors.js';
import { failpoint } from '../../core/failpoint.js';
import { CORE_OPTIONS } from '../../core/injection-tokens.js';
import type { CoreOptions } from '../../core/options.js';
import { failpoints } from '../failpoints.js';
import type { OutboxRow } from '../outbox-table.js';
import { KeyedRelay } from './keyed-relay.js';
import type { KeyedRow } from './keyed-table.js';

/** Appends messages with a key. */
@Injectable()
export class KeyedOutbox {
  constructor(
    private readonly database: Database,
    private readonly relay: KeyedRelay,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
  ) {}

  /** Inserts the message in the caller's transaction. After the commit it is sent if it is the head of its key. */
  async append(guard: TransactionGuard, message: OutboxRow, { streamKey, onParked }: OrderPlace): Promise<void> {
    this.relay.begin();
    const row: KeyedRow = { ...message, stream_key: streamKey, open_key: streamKey, on_parked: onParked };
    await failpoint(failpoints.keyed, () => this.insert(guard, row));
    guard.depend({
      afterCommit: () => failpoint(failpoints.committed, async () => this.relay.sendNow(row)),
      afterEarlyCommit: () => this.withdraw(row),
    });
  }

  /**
   * The place travels in front of the message. `seq` is read back from the row of the key, which this transaction has
   * locked. LAST_INSERT_ID would change the value that later statements of the caller see.
   */
  private async insert(guard: TransactionGuard, row: KeyedRow): Promise<void> {
    const places = this.database.tableIn('dtx_keyed_seq');
    // guard: order.place
    await guard.defer(
      `INSERT INTO ${places} (stream_key, seq, used_at) VALUES (?, 1, ?)
       ON DUPLICATE KEY UPDATE seq = seq + 1, used_at = UTC_TIMESTAMP(3)`,
      [row.stream_key, NOW_IN_ANY_SESSION],
      clockStopped,
    );
    // guard: order.message
    await guard.defer(
      `INSERT INTO ${this.database.tableIn('dtx_keyed')}
         (id, gid, contract, version, payload, awaiting, consumers, traceparent, stream_key, open_key, on_parked, seq,
          state, next_attempt_at, claim_token, created_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT seq FROM ${places} WHERE stream_key = ?),
          'PENDING', ${inFuture(this.core.leaseMs)}, ?, ?)`,
      [
        row.id,
        row.gid,
        row.contract,
        row.version,
        row.payload,
        row.awaiting,
        row.consumers ?? row.awaiting,
        row.traceparent,
        row.stream_key,
        row.open_key,
        row.on_parked,
        row.stream_key,
        row.claim_token,
        NOW_IN_ANY_SESSION,
      ],
      clockStopped,
    );
  }

  /**
   * Deletes a row that a statement of the caller committed early. Its successors go on.
   * @throws OutcomeUnknown if the row still exists, because it was claimed or sent meanwhile
   */
  private async withdraw({ id, claim_token, stream_key }: KeyedRow): Promise<void> {
    await this.database.own.query(`DELETE FROM dtx_keyed WHERE id = ? AND state = 'PENDING' AND claim_token = ?`, [
      id,
      claim_token,
    ]);
    const rows = await this.database.own.query('SELECT id FROM dtx_keyed WHERE id = ?', [id]);
    if (rows.length > 0)
      throw new OutcomeUnknown(
        `cannot withdraw message ${id} from ${this.database.names.inDatabase('dtx_keyed')}: it was claimed or sent meanwhile`,
      );
    await this.relay.release([stream_key]);
  }
}
