import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { inTimeOf } from '../async/user-code-time-limit.js';
import { heldKeyNote } from '../broker/ordered-messages.js';
import { Database } from '../database/database.service.js';
import { type Sql } from '../database/sql-executor.js';
import { sqlOf } from '../database/transaction-sql-executor.js';
import type { Unit } from '../database/unit-of-work.js';
import { claimDue } from '../durable/claim-and-reschedule.js';
import type { DurableLoop, Tried } from '../durable/durable-loop.js';
import { whileLeased } from '../durable/lease-renewal.js';
import { DurableLoops } from '../durable/loop-factory.js';
import { NoHandlerHere } from '../durable/operations-registry.js';
import { isBrokerUnavailable, isDoneInPart, Rejected, TookTooLong, textOf } from '../errors/errors.js';
import { isBusy } from '../errors/sql-errors.js';
import { failpoint } from '../failpoint.js';
import { CORE_OPTIONS } from '../injection-tokens.js';
import type { CoreOptions } from '../options.js';
import { Crowd } from './crowded-consumer-lock-waits.js';
import { inboxFailpoints } from './failpoints.js';
import { Inbox } from './handle-by-inbox.js';
import { resolveDelivery } from './inbox-resolution.js';
import { INBOX } from './inbox-table.js';
import { ANY_AGE, type Endpoint, type PayloadReader, read } from './incoming-message.js';
import { type InboxRow, incomingOfRow } from './message-from-inbox-row.js';
import { ServedConsumers } from './served-consumer-heartbeats.js';
import { StoredDeliveries } from './store-or-park-delivery.js';

/**
 * Assignments of a finished row, in SQL that also runs under the sql_mode of the user. Under ORACLE, `body` is a
 * keyword and needs quotes.
 */
const CLOSED = `state = 'HANDLED', next_attempt_at = NULL, claim_token = NULL, \`body\` = NULL,`;

const LOST_LEASES = 'every attempt ended with its process, or with its connection to the database';

/** Another instance has claimed the row, because the lease expired. Changes nothing. */
class FencedOut extends Error {}

/**
 * Retries failed deliveries from their RETRYING rows, and parks them with one alert when their attempts are used up.
 * The transaction of a running handler holds the row lock, so another instance skips the row even after the lease
 * expires. If the process dies, the expired lease counts as an attempt and the row is due again.
 */
@Injectable()
export class InboxRetry implements OnModuleDestroy {
  private readonly endpoints = new Map<string, Endpoint>();
  private readonly loop: DurableLoop<InboxRow>;
  private readonly crowd: Crowd;

  constructor(
    private readonly database: Database,
    private readonly inbox: Inbox,
    private readonly stored: StoredDeliveries,
    private readonly served: ServedConsumers,
    loops: DurableLoops,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {
    const places = Math.min(options.prefetch, options.claimBatchMax);
    this.crowd = new Crowd(places);
    this.loop = loops.create<InboxRow>({
      scheme: 'inbox',
      table: INBOX,
      leaseMs: options.leaseMs,
      scanIntervalMs: options.scanIntervalMs,
      // A hanging handler takes at most one of these places.
      concurrencyMax: Math.max(2, this.crowd.share),
      perKeyMax: this.crowd.share,
      attemptsMax: options.inbox.attemptsMax,
      backoff: options.inbox.backoff,
      mine: () => served.mine(),
      canRun: () => true,
      run: async (row) => this.withHeldKey(row, await this.run(row)),
      describe: (row) => ({ scheme: row.scheme, gid: row.gid, step: `${row.consumer} handling ${row.type}` }),
      resolve: (tx, row, outcome, note) =>
        resolveDelivery(this.operable, tx, row as unknown as InboxRow, { outcome, note }),
      parked: (row) => this.inbox.receipt(incomingOfRow(row), 'PARKED'),
    });
  }

  start(endpoints: readonly Endpoint[]): void {
    for (const endpoint of endpoints) this.endpoints.set(endpoint.consumer + typeKey(endpoint), endpoint);
    this.stored.onDue(() => this.loop.wake());
    this.database.onReady(() => {
      this.loop.start();
      this.served.start(endpoints, () => this.parkUnserved());
    });
  }

  async onModuleDestroy(): Promise<void> {
    await this.loop.stop();
  }

  private get operable() {
    return {
      hooks: this.database.hooks,
      refuse: (tx: EntityManager, row: InboxRow, no: Rejected) => this.refuse(tx, row, no),
      hasBeforeAck: (row: InboxRow) => this.hasBeforeAck(row),
      receipt: (row: InboxRow) => this.inbox.receipt(incomingOfRow(row), 'HANDLED'),
    };
  }

  /**
   * Runs `@OnRejected` for an operator, in the transaction of the row, so that a later redelivery is a duplicate.
   * Returns false if the consumer has none or the message is unreadable.
   * @throws NoHandlerHere if this instance has not mounted the consumer. No instance serves a message without a type.
   */
  private async refuse(tx: EntityManager, row: InboxRow, no: Rejected): Promise<boolean> {
    const endpoint = this.endpointOf(row);
    const incoming = incomingOfRow(row);
    if (!endpoint && row.type) throw new NoHandlerHere(`${row.consumer} for ${row.type}`);
    if (!endpoint?.reject) return false;
    const message = read(incoming, endpoint.contract, ANY_AGE);
    if (!message.ok) return false;
    await endpoint.reject(tx, message.payload, no, incoming.info);
    return true;
  }

  /** Whether the consumer has a `@BeforeAck`. */
  private hasBeforeAck(row: InboxRow): boolean {
    return Boolean(row.before_ack) || this.endpointOf(row)?.beforeAck !== undefined;
  }

  /** Parks the rows that no instance has served for `absentMs`, with one alert each. */
  private async parkUnserved(): Promise<void> {
    const only = this.served.unserved();
    if (!only) return;
    const { claimBatchMax: limit, leaseMs, absentMs } = this.options;
    for (const row of await claimDue<InboxRow>(this.database.own, INBOX, { limit, leaseMs, only })) {
      const step = row.before_ack || row.settled_at ? ' with a @BeforeAck' : '';
      const error = `no instance has served ${row.consumer} for ${row.type}${step} for ${absentMs} ms; start one, then retry`;
      await this.loop.park(row, error, row.attempts);
    }
  }

  private endpointOf(row: InboxRow): Endpoint | undefined {
    return this.endpoints.get(`${row.consumer} ${row.type}`);
  }

  private async run(row: InboxRow): Promise<Tried> {
    const endpoint = this.endpointOf(row);
    const incoming = incomingOfRow(row);
    if (!endpoint) return { kind: 'fatal', error: `${row.consumer} has no handler for messages of type ${row.type}` };
    if (row.attempts >= this.options.inbox.attemptsMax) return { kind: 'fatal', error: LOST_LEASES };
    // The age was checked before the row was stored. An operator may have retried a row that was parked for its age.
    const message = read(incoming, endpoint.contract, ANY_AGE);
    if (!message.ok) return { kind: 'fatal', error: message.problem };
    try {
      if (!row.settled_at)
        await failpoint(inboxFailpoints(row.scheme)?.handled, () => this.handle(row, endpoint, message.payload));
      if (endpoint.beforeAck) await this.finish(row, () => endpoint.beforeAck!(message.payload, incoming.info));
    } catch (error) {
      if (error instanceof FencedOut) return { kind: 'settled' };
      // `@BeforeAck` could not reach the broker. This does not count as an attempt.
      if (isBrokerUnavailable(error)) return { kind: 'unreachable' };
      if (error instanceof Rejected)
        return { kind: 'fatal', error: `rejected (${error.reason}), and ${row.consumer} has no @OnRejected` };
      if (isDoneInPart(error)) {
        await this.stored.parkInPart(incoming, endpoint, error);
        await this.inbox.receipt(incoming, 'PARKED').catch(() => {});
        return { kind: 'settled' };
      }
      // After `absentMs` a lock wait counts as an attempt. The handler may wait for a lock of its own.
      if (isBusy(error) && !this.isOld(row)) return { kind: 'unreachable', delayMs: this.crowd.restMsOf(row.id) };
      if (await this.database.isAway(error)) return { kind: 'unreachable' };
      return { kind: 'failed', error: textOf(error), isSilent: error instanceof TookTooLong };
    }
    this.crowd.forget(row.id);
    // If this receipt is lost, the sender resends and the duplicate is receipted.
    await this.inbox.receipt(incoming, 'HANDLED').catch(() => {});
    return { kind: 'settled' };
  }

  /** The alert of a parked message names the key that waits for it. */
  private withHeldKey(row: InboxRow, tried: Tried): Tried {
    const isLast =
      tried.kind === 'fatal' || (tried.kind === 'failed' && row.attempts + 1 >= this.options.inbox.attemptsMax);
    const contract = this.endpointOf(row)?.contract;
    if (!isLast || !contract?.inOrderOf) return tried;
    const message = read(incomingOfRow(row), contract, ANY_AGE);
    return { ...tried, error: tried.error + heldKeyNote(contract, message.ok ? message.payload : null) };
  }

  private isOld({ age_ms }: InboxRow): boolean {
    return Number(age_ms ?? 0) > this.options.absentMs;
  }

  private async handle(row: InboxRow, endpoint: Endpoint, payload: PayloadReader): Promise<void> {
    const { info } = incomingOfRow(row);
    const isLast = !endpoint.beforeAck;
    let isLocked = false;
    const run = (work: (tx: EntityManager) => Promise<void>, outcome: string | null) => async (tx: EntityManager) => {
      await this.take(sqlOf(tx), row, { outcome, isLast });
      isLocked = true;
      await failpoint(inboxFailpoints(row.scheme)?.inserted, async () => {});
      await work(tx);
    };
    const { leaseMs } = this.options;
    const lease = { sql: this.database.own, table: INBOX, row, leaseMs, isLocked: () => isLocked };
    // The wait for a place of the consumer has no limit. Until its transaction holds the row lock, the lease is renewed.
    const inTransaction = (unit: Unit<void>) =>
      whileLeased(lease, () => this.database.work.run(unit).finally(() => (isLocked = false)));
    const { type, consumer } = row;
    try {
      const handle = run((tx) => endpoint.handle(tx, payload, info), null);
      const lockWaitSeconds = this.crowd.waitOf(row.id);
      await inTransaction({ what: `@OnMessage(${type}) of ${consumer}`, consumer, lockWaitSeconds, run: handle });
    } catch (error) {
      const reject = endpoint.reject;
      if (!(error instanceof Rejected) || !reject) throw error;
      const refuse = run((tx) => reject(tx, payload, error, info), error.reason.slice(0, 64));
      await inTransaction({ what: `@OnRejected(${type}) of ${consumer}`, consumer, run: refuse });
    }
  }

  /**
   * Marks the business as committed. With a `@BeforeAck`, the row stays open and leased. If the process dies, the scan
   * continues with that step.
   */
  private async take(
    sql: Sql,
    row: InboxRow,
    { outcome, isLast }: { outcome: string | null; isLast: boolean },
  ): Promise<void> {
    const result = await sql.query(
      `UPDATE dtx_inbox SET ${isLast ? CLOSED : ''} outcome = ?, settled_at = UTC_TIMESTAMP(3)
       WHERE id = ? AND claim_token = ? AND state = 'RETRYING' AND settled_at IS NULL`,
      [outcome, row.id, row.claim_token],
    );
    if (result.affectedRows !== 1) throw new FencedOut(row.id);
  }

  /** Runs `@BeforeAck`, then ends the row. Nothing fences the step itself, so it must be idempotent. */
  private async finish(row: InboxRow, beforeAck: () => Promise<void>): Promise<void> {
    const what = `@BeforeAck(${row.type}) of ${row.consumer}`;
    // The transaction with the row lock is over, so the lease is renewed instead.
    await whileLeased({ sql: this.database.own, table: INBOX, row, leaseMs: this.options.leaseMs }, () =>
      inTimeOf({ what, limitMs: this.options.handlerTimeoutMs }, beforeAck),
    );
    await this.database.own.query(
      `UPDATE dtx_inbox SET ${CLOSED} last_error = NULL WHERE id = ? AND claim_token = ? AND state = 'RETRYING'`,
      [row.id, row.claim_token],
    );
  }
}

function typeKey(endpoint: Endpoint): string {
  return ` ${endpoint.contract.name}.v${endpoint.contract.version}`;
}
