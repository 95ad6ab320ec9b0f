// Step 1 of 6 - outbox: the message row joins the caller's transaction; the fast path starts right after its commit.
import { randomUUID } from 'node:crypto';
import { Inject, Injectable, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import type { Contract } from '../core/broker/contract.js';
import { checkedJson, payloadOf } from '../core/broker/payload.js';
import { Database } from '../core/database/database.service.js';
import { clockStopped, NOW_IN_ANY_SESSION } from '../core/database/insert-first.js';
import type { Sql } from '../core/database/sql.js';
import { joinTransaction } from '../core/database/transaction.js';
import { inFuture } from '../core/durable/claim.js';
import { DtxError, OutcomeUnknown } from '../core/errors/errors.js';
import { failpoint } from '../core/failpoint.js';
import { assertGid, newId } from '../core/ids.js';
import type { CoreOptions } from '../core/options.js';
import { measure } from '../core/telemetry.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { currentTraceparent } from '../core/trace.js';
import { failpoints, SCHEME } from './failpoints.js';
import { LOCAL_MESSAGE_OPTIONS, type LocalMessageOptions } from './options.js';
import { type OutboxRow, outboxMigrations } from './outbox-table.js';
import { Relay } from './relay.js';

/** The local message table (本地消息表): a message becomes part of the caller's transaction and is sent until it is handled. */
@Injectable()
export class LocalMessages implements OnModuleInit {
  /** Fencing token of the rows that this process inserts already leased to itself. */
  private readonly token = randomUUID();

  constructor(
    private readonly database: Database,
    private readonly relay: Relay,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(LOCAL_MESSAGE_OPTIONS) private readonly options: LocalMessageOptions,
  ) {}

  onModuleInit(): void {
    this.database.addMigrations('dtx-local-message', outboxMigrations);
  }

  /**
   * Appends a message to the caller's transaction (seed: 本地消息表 1): it will be delivered to every consumer of its
   * contract, at least once, if and only if the transaction commits. Returns the message id. The payload is read before
   * this returns its promise: the caller may change it afterwards.
   * @throws TransactionRequired outside a transaction; DtxError when the payload does not fit the contract, does not come
   *   back from JSON as it is, or is too large
   * @example
   *   await this.db.transaction(async (tx) => {
   *     await this.orders.place(tx, purchase);
   *     await this.messages.append(tx, orderPlaced, { orderId, buyerId, sku, quantity, amount });
   *   });
   */
  async append<P>(tx: EntityManager, contract: Contract<P>, payload: P): Promise<string> {
    const row = this.rowOf(contract, payload);
    const scope = await joinTransaction(tx, this.database.source, 'LocalMessages.append');
    // guard: outbox.row
    await failpoint(failpoints.appended, () => this.insert(scope, row).catch(clockStopped));
    scope.depend({
      // Only after COMMIT, and only if it succeeds: if the process dies before, the row's lease runs out and the scan sends it.
      afterCommit: () => failpoint(failpoints.committed, async () => this.relay.sendNow(row)),
      afterEarlyCommit: () => this.withdraw(row),
    });
    measure('started', { scheme: SCHEME });
    return row.id;
  }

  private rowOf<P>(contract: Contract<P>, payload: P): OutboxRow {
    if (contract.replicated)
      throw new DtxError(
        `${contract.name} is replicated, which is for messages without a row: give it its own contract`,
      );
    const { json, value } = checkedJson(payloadOf(contract), contract.schema, payload, this.options.payloadMaxBytes);
    const nowMs = this.database.nowMs();
    return {
      id: newId(nowMs),
      gid: assertGid(contract.gid(value)),
      contract: contract.name,
      version: contract.version,
      payload: json,
      awaiting: `,${contract.consumers.join(',')},`,
      traceparent: currentTraceparent(),
      made_at_ms: nowMs,
      state: 'PENDING',
      attempts: 0,
      claim_token: this.token,
      fresh: true,
    };
  }

  private async insert(sql: Sql, row: OutboxRow): Promise<void> {
    await sql.query(
      `INSERT INTO ${this.database.tableIn('dtx_outbox')}
         (id, gid, contract, version, payload, awaiting, traceparent, state, next_attempt_at, claim_token, created_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, 'PENDING', ${inFuture(this.core.leaseMs)}, ?, ?)`,
      [
        row.id,
        row.gid,
        row.contract,
        row.version,
        row.payload,
        row.awaiting,
        row.traceparent,
        row.claim_token,
        NOW_IN_ANY_SESSION,
      ],
    );
  }

  /**
   * A statement of the caller's has committed the row, and the caller is told of an error. The row is still leased to this
   * process: nobody else has sent it.
   * @throws OutcomeUnknown when it was sent all the same
   */
  private async withdraw({ id, claim_token }: OutboxRow): Promise<void> {
    await this.database.own.query(`DELETE FROM dtx_outbox WHERE id = ? AND state = 'PENDING' AND claim_token = ?`, [
      id,
      claim_token,
    ]);
    const rows = await this.database.own.query('SELECT id FROM dtx_outbox WHERE id = ?', [id]);
    if (rows.length > 0) throw new OutcomeUnknown(`message ${id} is on its way`);
  }
}
