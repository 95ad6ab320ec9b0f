import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { inTimeOf } from '../async/time-limit.js';
import { Database } from '../database/database.service.js';
import { type Sql } from '../database/sql.js';
import { sqlOf } from '../database/sql-of.js';
import { claimDue } from '../durable/claim.js';
import { whileLeased } from '../durable/lease.js';
import type { DurableLoop, Tried } from '../durable/loop.js';
import { DurableLoops } from '../durable/loops.js';
import { isBrokerAway, isDoneInPart, Rejected, TookTooLong, textOf } from '../errors/errors.js';
import { isBusy } from '../errors/sql-errors.js';
import { failpoint } from '../failpoint.js';
import type { CoreOptions } from '../options.js';
import { CORE_OPTIONS } from '../tokens.js';
import { inboxFailpoints } from './failpoints.js';
import { Inbox } from './inbox.js';
import { resolveHeld } from './inbox-resolution.js';
import { type HeldRow, incomingOfRow } from './inbox-row.js';
import { INBOX } from './inbox-table.js';
import { ANY_AGE, type Endpoint, type PayloadReader, read } from './incoming-message.js';
import { Crowd } from './lock-crowd.js';
import { Served } from './served-contracts.js';
import { StoredDeliveries } from './stored-deliveries.js';

/** A row at its end, in SQL that is also read in the user's mode: a word of PL/SQL under ORACLE has to be quoted. */
const CLOSED = `state = 'HANDLED', next_attempt_at = NULL, claim_token = NULL, \`body\` = NULL,`;

const KILLS = 'each try has ended with its process, or with its connection to the database';

/** Somebody else has the row now (our lease ran out): change nothing. */
class FencedOut extends Error {}

/**
 * Retries deliveries whose handler failed, from their stored rows, and parks them with one alert when their attempts
 * are used up. While a handler runs, its transaction holds the row's lock, so another instance skips it even after the
 * lease has run out.
 */
@Injectable()
export class HeldDeliveries implements OnModuleDestroy {
  private readonly endpoints = new Map<string, Endpoint>();
  private readonly loop: DurableLoop<HeldRow>;
  private readonly crowd: Crowd;

  constructor(
    private readonly database: Database,
    private readonly inbox: Inbox,
    private readonly stored: StoredDeliveries,
    private readonly served: Served,
    loops: DurableLoops,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {
    const places = Math.min(options.prefetch, options.claimBatchMax);
    this.crowd = new Crowd(places);
    this.loop = loops.create<HeldRow>({
      scheme: 'inbox',
      table: INBOX,
      leaseMs: options.leaseMs,
      scanIntervalMs: options.scanIntervalMs,
      // A handler that hangs has one of them at the most.
      concurrencyMax: Math.max(2, this.crowd.share),
      laneMax: this.crowd.share,
      attemptsMax: options.inbox.attemptsMax,
      backoff: options.inbox.backoff,
      mine: () => served.mine(),
      canRun: () => true,
      run: (row) => this.run(row),
      describe: (row) => ({ scheme: row.scheme, gid: row.gid, step: `${row.consumer} handling ${row.type}` }),
      resolve: (tx, row, outcome, note) => resolveHeld(this.operable, tx, row as unknown as HeldRow, { outcome, note }),
      parked: (row) => this.inbox.receipt(incomingOfRow(row), 'PARKED'),
    });
  }

  start(endpoints: readonly Endpoint[]): void {
    for (const endpoint of endpoints) this.endpoints.set(endpoint.consumer + typeKey(endpoint), endpoint);
    this.stored.onHeld(() => this.loop.wake());
    this.database.onReady(() => {
      this.loop.start();
      this.served.start(endpoints, () => this.giveUpNobodys());
    });
  }

  async onModuleDestroy(): Promise<void> {
    await this.loop.stop();
  }

  private get operable() {
    return {
      hooks: this.database.hooks,
      refuse: (tx: EntityManager, row: HeldRow, no: Rejected) => this.refuse(tx, row, no),
      hasBeforeAck: (row: HeldRow) => this.hasBeforeAck(row),
      receipt: (row: HeldRow) => this.inbox.receipt(incomingOfRow(row), 'HANDLED'),
    };
  }

  /**
   * The refusal path at a person's word: row and refusal in one transaction, so that a later retry is a duplicate.
   * Returns false when the consumer has none or the message cannot be read.
   */
  private async refuse(tx: EntityManager, row: HeldRow, no: Rejected): Promise<boolean> {
    const endpoint = this.endpointOf(row);
    const incoming = incomingOfRow(row);
    if (!endpoint?.reject) return false;
    const message = read(incoming, endpoint.contract, ANY_AGE);
    if (!message.ok) return false;
    await endpoint.reject(tx, message.payload, no, incoming.info);
    return true;
  }

  /** Whether its consumer has something to do between the commit and the ack. */
  private hasBeforeAck(row: HeldRow): boolean {
    return Boolean(row.before_ack) || this.endpointOf(row)?.beforeAck !== undefined;
  }

  /** Parks what no instance has served for `absentMs`, with one alert each. */
  private async giveUpNobodys(): Promise<void> {
    const only = this.served.nobodys();
    if (!only) return;
    const { claimBatchMax: limit, leaseMs, absentMs } = this.options;
    for (const row of await claimDue<HeldRow>(this.database.own, INBOX, { limit, leaseMs, only })) {
      const step = row.before_ack || row.settled_at ? ' and its step before the ack' : '';
      const error = `no instance has served ${row.consumer} for ${row.type}${step} for ${absentMs} ms: start one, then retry`;
      await this.loop.park(row, error, row.attempts);
    }
  }

  private endpointOf(row: HeldRow): Endpoint | undefined {
    return this.endpoints.get(`${row.consumer} ${row.type}`);
  }

  private async run(row: HeldRow): Promise<Tried> {
    const endpoint = this.endpointOf(row);
    const incoming = incomingOfRow(row);
    if (!endpoint)
      return { kind: 'hopeless', error: `${row.consumer} has no handler for messages of type ${row.type}` };
    if (row.attempts >= this.options.inbox.attemptsMax) return { kind: 'hopeless', error: KILLS };
    // The stored row keeps it from being handled twice. One that was parked for its age is here by a person's word.
    const message = read(incoming, endpoint.contract, ANY_AGE);
    if (!message.ok) return { kind: 'hopeless', error: message.problem };
    try {
      if (!row.settled_at)
        await failpoint(inboxFailpoints(row.scheme)?.handled, () => this.handle(row, endpoint, message.payload));
      if (endpoint.beforeAck) await this.finish(row, () => endpoint.beforeAck!(message.payload, incoming.info));
    } catch (error) {
      if (error instanceof FencedOut) return { kind: 'settled' };
      // The step before the ack could not reach the broker: no attempt, the lease runs out.
      if (isBrokerAway(error)) return { kind: 'unreachable' };
      if (error instanceof Rejected)
        return { kind: 'hopeless', error: `refused (${error.reason}) and the consumer has no @OnRejected` };
      if (isDoneInPart(error)) {
        await this.stored.parkInPart(incoming, endpoint, error);
        await this.inbox.receipt(incoming, 'PARKED').catch(() => {});
        return { kind: 'settled' };
      }
      // Busy for so long is not busy: it may wait for a lock of its own.
      if (isBusy(error) && !this.isOld(row)) return { kind: 'unreachable', delayMs: this.crowd.restMsOf(row.id) };
      if (await this.database.isAway(error)) return { kind: 'unreachable' };
      return { kind: 'failed', error: textOf(error), isSilent: error instanceof TookTooLong };
    }
    this.crowd.forget(row.id);
    // Should this receipt be lost, the sender resends and the duplicate is receipted.
    await this.inbox.receipt(incoming, 'HANDLED').catch(() => {});
    return { kind: 'settled' };
  }

  private isOld({ age_ms }: HeldRow): boolean {
    return Number(age_ms ?? 0) > this.options.absentMs;
  }

  private async handle(row: HeldRow, endpoint: Endpoint, payload: PayloadReader): Promise<void> {
    const { info } = incomingOfRow(row);
    const { work } = this.database;
    const isLast = !endpoint.beforeAck;
    const run = (work: (tx: EntityManager) => Promise<void>, outcome: string | null) => async (tx: EntityManager) => {
      await this.take(sqlOf(tx), row, { outcome, isLast });
      await failpoint(inboxFailpoints(row.scheme)?.inserted, async () => {});
      await work(tx);
    };
    try {
      const handle = run((tx) => endpoint.handle(tx, payload, info), null);
      const lockWaitSeconds = this.crowd.waitOf(row.id);
      await work.run({
        what: `@OnMessage(${row.type}) of ${row.consumer}`,
        consumer: row.consumer,
        lockWaitSeconds,
        run: handle,
      });
    } catch (error) {
      const reject = endpoint.reject;
      if (!(error instanceof Rejected) || !reject) throw error;
      const refuse = run((tx) => reject(tx, payload, error, info), error.reason.slice(0, 64));
      await work.run({ what: `@OnRejected(${row.type}) of ${row.consumer}`, consumer: row.consumer, run: refuse });
    }
  }

  /** With a step before the ack the row stays open and leased: should the process die, the scan goes on with that step. */
  private async take(
    sql: Sql,
    row: HeldRow,
    { outcome, isLast }: { outcome: string | null; isLast: boolean },
  ): Promise<void> {
    const result = await sql.query(
      `UPDATE dtx_inbox SET ${isLast ? CLOSED : ''} outcome = ?, settled_at = UTC_TIMESTAMP(3)
       WHERE id = ? AND claim_token = ? AND state = 'RETRYING' AND settled_at IS NULL`,
      [outcome, row.id, row.claim_token],
    );
    if (result.affectedRows !== 1) throw new FencedOut(row.id);
  }

  /** The step before the ack, then the end of the row. Not fenced by business: the step bears being repeated. */
  private async finish(row: HeldRow, beforeAck: () => Promise<void>): Promise<void> {
    const what = `@BeforeAck(${row.type}) of ${row.consumer}`;
    // No lock of the row's keeps others from it now.
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
