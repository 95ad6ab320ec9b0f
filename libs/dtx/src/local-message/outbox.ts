// Step 1 of 6 - outbox: the message row joins the caller's transaction. The fast path starts right after the commit.
// If the process dies before the commit, nothing exists. If it dies after, the scan sends the row when its lease expires.
import { randomUUID } from 'node:crypto';
import { Inject, Injectable, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { mustBeContract } from '../core/broker/contract-argument.js';
import type { Contract } from '../core/broker/message-contract.js';
import { type OrderPlace, orderPlaceOf } from '../core/broker/ordered-messages.js';
import { checkedJson, payloadOf, type Sendable } from '../core/broker/outgoing-payload.js';
import { clockStopped, NOW_IN_ANY_SESSION } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import type { TransactionGuard } from '../core/database/guarded-transaction.js';
import { joinTransaction } from '../core/database/join-or-run-transaction.js';
import { inFuture } from '../core/durable/claim-and-reschedule.js';
import { DtxError } from '../core/errors/errors.js';
import { failpoint } from '../core/failpoint.js';
import { assertGid, newId } from '../core/ids.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { measure } from '../core/telemetry-events.js';
import { currentTraceparent } from '../core/trace-and-gid-context.js';
import { createStep, Traced } from '../core/traced-steps.js';
import { checkedWhich, type Delay, type DelayOptions, type WhichMessage } from './delay.js';
import { DelayedMessages } from './delayed-messages.js';
import { failpoints, SCHEME } from './failpoints.js';
import { LOCAL_MESSAGE_OPTIONS, type LocalMessageOptions } from './options.js';
import { KeyedOutbox } from './order/keyed-append.js';
import { keyedMigrations } from './order/keyed-table.js';
import { routeOf } from './outbox-route.js';
import { type OutboxRow, outboxMigrations } from './outbox-table.js';
import { Relay } from './relay.js';
import { type CancelAnswer, notWithdrawn } from './withdraw.js';

/** The checked payload of a message, its gid and its place in an order. @throws DtxError as `LocalMessages.append` */
export function messageToAppend<P>(
  contract: Contract<P>,
  payload: P,
  bytesMax: number,
  delay?: DelayOptions,
): Sendable<P> & { gid: string; place: OrderPlace | null } {
  mustBeContract(contract, 'append(tx, contract, payload)');
  if (contract.replicated && contract.receipts !== false)
    throw new DtxError(
      `cannot append ${contract.name} v${contract.version}: contract is replicated, which is for messages that no row sends again; define a separate contract, or set receipts: false`,
    );
  const checked = checkedJson(payloadOf(contract), contract.schema, payload, bytesMax);
  const place = orderPlaceOf(contract, checked.value);
  if (place && delay)
    throw new DtxError(
      `cannot append ${contract.name} v${contract.version} with a delay: contract has inOrderOf, and later messages of its key would wait; define a separate contract`,
    );
  return { ...checked, gid: assertGid(contract.gid(checked.value)), place };
}

/**
 * The local message table (本地消息表). A message is committed with the caller's transaction and resent until every
 * consumer has sent its receipt.
 */
@Injectable()
export class LocalMessages implements OnModuleInit {
  /** Fencing token of the rows that this process inserts under its own lease. */
  private readonly token = randomUUID();
  private readonly delayed: DelayedMessages;

  /** @internal */
  constructor(
    private readonly database: Database,
    private readonly relay: Relay,
    private readonly keyed: KeyedOutbox,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(LOCAL_MESSAGE_OPTIONS) private readonly options: LocalMessageOptions,
  ) {
    this.delayed = new DelayedMessages(core, database, relay, options);
  }

  onModuleInit(): void {
    this.database.addMigrations('dtx-local-message', outboxMigrations);
    this.database.addMigrations('dtx-keyed', keyedMigrations);
  }

  /**
   * Appends a message to the caller's transaction. The message is delivered at least once to every consumer of its
   * contract if and only if the transaction commits. With `receipts: false` it is delivered at least once to its queues or
   * its exchange. The payload is serialized synchronously, so the caller may change
   * it afterwards. Returns the message id.
   *
   * With a delay the message is sent when it is due by the clock of the database, never before. Until then it waits in its
   * row, so it can be withdrawn and moved. With `inOrderOf`, consumers handle the messages of a key in the order of their
   * commits. A contract has the one or the other.
   * @throws TransactionRequired outside a transaction
   * @throws NameTaken if an open message of the contract has the name
   * @throws DtxError if the contract is `replicated` and has receipts, or the payload violates it, changes in a JSON round trip, or exceeds
   *   `payloadMaxBytes`, or the delay is malformed or longer than `delayMaxMs`, or `inOrderOf.key` is invalid
   * @example
   *   await this.db.transaction(async (tx) => {
   *     await this.orders.place(tx, purchase);
   *     await this.messages.append(tx, orderPlaced, { orderId, buyerId, sku, quantity, amount });
   *   });
   */
  @Traced((_tx: EntityManager, contract: Contract) => ({ ...createStep(SCHEME, contract), returnsMessageId: true }))
  async append<P>(tx: EntityManager, contract: Contract<P>, payload: P, delay?: DelayOptions): Promise<string> {
    const { row, place } = this.rowOf(contract, payload, delay);
    const later = delay === undefined ? undefined : this.delayed.check(contract, row, delay);
    const guard = await joinTransaction(tx, this.database.source, 'LocalMessages.append');
    if (later) return this.delayed.append(guard, contract, later);
    if (place) await this.keyed.append(guard, row, place);
    else await this.add(guard, row);
    measure('started', { scheme: SCHEME, id: row.id, gid: row.gid });
    return row.id;
  }

  private async add(guard: TransactionGuard, row: OutboxRow): Promise<void> {
    // guard: outbox.row
    await failpoint(failpoints.appended, () => this.insert(guard, row));
    guard.depend({
      afterCommit: () => failpoint(failpoints.committed, async () => this.relay.sendNow(row)),
      afterEarlyCommit: () => this.withdraw(row),
    });
  }

  /**
   * Withdraws a delayed message in the caller's transaction. The answer is exact, also at the due time, if all consumers
   * belong to this app: the message is handled, or the transaction of the caller commits CANCELLED, never both. Call it
   * before other locking statements of the transaction, so that it and the handler do not wait for each other.
   * @throws TransactionRequired outside a transaction
   * @throws OutcomeUnknown if a consumer is handling the message and takes longer than the lock wait of the session
   * @throws DtxError for a malformed name or id
   * @example
   *   const answer = await this.messages.cancel(tx, orderExpired, { name: orderId });
   *   if (answer === 'HANDLED') throw new Rejected('EXPIRED');
   */
  async cancel<P>(tx: EntityManager, contract: Contract<P>, which: WhichMessage): Promise<CancelAnswer> {
    const checked = checkedWhich(which, contract);
    const guard = await joinTransaction(tx, this.database.source, 'LocalMessages.cancel');
    return this.delayed.cancel(guard, contract, checked);
  }

  /**
   * Moves the due time of a message that is not sent yet. Returns false if it is too late, or without such a
   * message.
   * @throws TransactionRequired outside a transaction
   * @throws DtxError for a malformed name, id or due time
   * @example
   *   const isMoved = await this.messages.reschedule(tx, orderExpired, { name: orderId }, { dueInMs: 600_000 });
   */
  async reschedule<P>(tx: EntityManager, contract: Contract<P>, which: WhichMessage, delay: Delay): Promise<boolean> {
    const checked = checkedWhich(which, contract);
    const due = this.delayed.dueTimeOf(delay, `cannot reschedule a message of ${contract.name}`);
    const guard = await joinTransaction(tx, this.database.source, 'LocalMessages.reschedule');
    return this.delayed.reschedule(guard, contract, checked, due);
  }

  private rowOf<P>(
    contract: Contract<P>,
    payload: P,
    delay: DelayOptions | undefined,
  ): { row: OutboxRow; place: OrderPlace | null } {
    const { json, gid, place } = messageToAppend(contract, payload, this.options.payloadMaxBytes, delay);
    const nowMs = this.database.nowMs();
    const consumers = contract.consumers.length > 0 ? `,${contract.consumers.join(',')},` : ',';
    const row: OutboxRow = {
      id: newId(nowMs),
      gid,
      contract: contract.name,
      version: contract.version,
      payload: json,
      awaiting: consumers,
      consumers,
      route: routeOf(contract),
      traceparent: currentTraceparent(),
      made_at_ms: nowMs,
      state: 'PENDING',
      attempts: 0,
      claim_token: this.token,
      fresh: true,
    };
    return { row, place };
  }

  /** The row travels with the next statement of the caller, or with COMMIT. */
  private async insert(guard: TransactionGuard, row: OutboxRow): Promise<void> {
    await guard.defer(
      `INSERT INTO ${this.database.tableIn('dtx_outbox')}
         (id, gid, contract, version, payload, awaiting, consumers, traceparent, route, state, next_attempt_at, claim_token, created_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'PENDING', ${inFuture(this.core.leaseMs)}, ?, ?)`,
      [
        row.id,
        row.gid,
        row.contract,
        row.version,
        row.payload,
        row.awaiting,
        row.consumers ?? null,
        row.traceparent,
        row.route,
        row.claim_token,
        NOW_IN_ANY_SESSION,
      ],
      clockStopped,
    );
  }

  /**
   * Deletes a row that a statement of the caller committed early, since the call of the caller fails. This process holds
   * the lease of the row, so no other instance has sent it unless the lease has expired.
   * @throws OutcomeUnknown if the row still exists, because it was claimed or sent meanwhile
   */
  private async withdraw({ id, claim_token }: OutboxRow): Promise<void> {
    await this.database.own.query(`DELETE FROM dtx_outbox WHERE id = ? AND state = 'PENDING' AND claim_token = ?`, [
      id,
      claim_token,
    ]);
    const rows = await this.database.own.query('SELECT id FROM dtx_outbox WHERE id = ?', [id]);
    if (rows.length > 0) throw notWithdrawn(this.database, id);
  }
}
