// Steps 2 and 6 for a contract with `inOrderOf` - only the head of a key is sent. A message looks for the head after its own
// COMMIT, and the process that ends a head looks after that COMMIT, so one of the two sees the other. If a process dies
// between COMMIT and look, the lease expires, the receipt is redelivered, or the search for stranded keys finds the head.
import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Periodic } from '../../core/async/periodic-task.js';
import { Broker } from '../../core/broker/broker.service.js';
import { Nacked, Unroutable } from '../../core/broker/confirm-publisher.js';
import { hasOrderedContracts } from '../../core/broker/ordered-messages.js';
import { Database } from '../../core/database/database.service.js';
import { sqlOf } from '../../core/database/transaction-sql-executor.js';
import { Alerts } from '../../core/durable/alerts.js';
import { BackgroundWork } from '../../core/durable/background-work.js';
import type { DurableLoop, Tried } from '../../core/durable/durable-loop.js';
import { consumersIn, type TableRow } from '../../core/durable/durable-table.js';
import type { Outcome } from '../../core/durable/durable-work.js';
import { DurableLoops } from '../../core/durable/loop-factory.js';
import { Unreceipted } from '../../core/durable/resend-or-give-up.js';
import { settleFinal } from '../../core/durable/settle-or-park.js';
import { textOf } from '../../core/errors/errors.js';
import { isUnavailable } from '../../core/errors/sql-errors.js';
import { failpoint } from '../../core/failpoint.js';
import { CORE_OPTIONS } from '../../core/injection-tokens.js';
import { libraryLogger } from '../../core/library-logger.js';
import type { CoreOptions } from '../../core/options.js';
import { failpoints, SCHEME } from '../failpoints.js';
import { LOCAL_MESSAGE_OPTIONS, type LocalMessageOptions } from '../options.js';
import { type Head, isPassed, KeyHeads } from './key-heads.js';
import { KeyedSender } from './keyed-sender.js';
import { KEYED, type KeyedRow, waitingBehind } from './keyed-table.js';

/**
 * Sends messages with a key, one of each key at a time. It begins with the first contract that has `inOrderOf`, or with
 * rows that a former version of the app has left. Other apps pay one read per `absentMs`, since a rolling deployment may
 * leave rows after their start.
 */
@Injectable()
export class KeyedRelay implements OnModuleInit, OnModuleDestroy {
  private readonly logger = libraryLogger('keyed relay');
  private readonly heads: KeyHeads;
  readonly sender: KeyedSender;
  private readonly unreceipted: Unreceipted;
  private readonly search: Periodic;
  private readonly leftRows: Periodic;
  private readonly listeners: Array<() => void> = [];
  private loop: DurableLoop<KeyedRow> | undefined;

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    alerts: Alerts,
    private readonly loops: DurableLoops,
    private readonly background: BackgroundWork,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(LOCAL_MESSAGE_OPTIONS) private readonly options: LocalMessageOptions,
  ) {
    this.heads = new KeyHeads(database, core.leaseMs);
    this.sender = new KeyedSender(database, broker.publisher, core.app, options);
    this.unreceipted = new Unreceipted(KEYED, database, broker.publisher, alerts, options);
    this.search = new Periodic(
      core.scanIntervalMs,
      (stopping) => this.releaseStranded(stopping),
      (error) => {
        if (!isUnavailable(error)) this.logger.error(`search for stranded keys failed, retrying: ${textOf(error)}`);
      },
    );
    this.leftRows = new Periodic(
      options.absentMs,
      () => this.beginForLeftRows(),
      (error) => this.logger.warn(`cannot read ${database.names.inDatabase('dtx_keyed')}, retrying: ${textOf(error)}`),
    );
  }

  onModuleInit(): void {
    if (hasOrderedContracts()) this.begin();
    else this.database.onReady(() => this.leftRows.start());
    this.broker.publisher.on('up', () => this.loop?.wake());
  }

  async onModuleDestroy(): Promise<void> {
    await this.leftRows.stop();
    await this.search.stop();
    await this.loop?.stop();
    await this.sender.drain();
  }

  /** Calls the listener when the relay begins, or at once if it has. */
  onBegin(listener: () => void): void {
    if (this.loop) listener();
    else this.listeners.push(listener);
  }

  /** Begins the scans of this process. A repeated call changes nothing. */
  begin(): void {
    if (this.loop) return;
    const { core, options } = this;
    this.loop = this.loops.create<KeyedRow>({
      scheme: SCHEME,
      table: KEYED,
      leaseMs: core.leaseMs,
      scanIntervalMs: core.scanIntervalMs,
      concurrencyMax: options.relayWindowMax,
      perKeyMax: Math.min(options.consumerWindowMax, options.relayWindowMax),
      surplusMax: options.relayWindowMax,
      attemptsMax: options.attemptsMax,
      backoff: options.resend,
      canRun: () => this.broker.publisher.isUp,
      run: async (row) => this.withWaiting(row, await this.run(row)),
      writeMarks: () => this.sender.drain(),
      describe: (row) => ({ gid: row.gid, step: stepOf(row) }),
      resolve: (tx, row, outcome) => this.resolve(tx, row, outcome),
      parked: async (row) => {
        if (isPassed({ state: 'PARKED', on_parked: row.on_parked })) await this.release([row.stream_key]);
      },
    });
    this.database.onReady(() => {
      this.loop!.start();
      // guard: order.search
      this.background.startPeriodic('stranded keys', this.search);
    });
    for (const listener of this.listeners.splice(0)) listener();
  }

  private async beginForLeftRows(): Promise<void> {
    if (this.loop) return;
    const open = 'SELECT 1 AS found FROM dtx_keyed FORCE INDEX (due) WHERE next_attempt_at IS NOT NULL LIMIT 1';
    if ((await this.database.own.query<unknown[]>(open)).length > 0) this.begin();
  }

  /** The fast path. If the window is full or the broker is unavailable, the row waits until its lease expires. */
  sendNow(row: KeyedRow): void {
    if (this.broker.publisher.isUp && this.loop && this.loop.room > 0) this.loop.runNow(row, { takesShare: false });
  }

  /** Lets the successors of ended messages go. */
  async ended(ids: readonly string[]): Promise<void> {
    await this.letGo(await this.heads.behind(ids));
  }

  /** Sends the heads of these keys that wait. Safe to call at any time and in several instances. */
  async release(keys: readonly string[]): Promise<void> {
    await this.letGo(await this.heads.of(keys));
  }

  /** Sends heads that wait. A parked head that lets its successors pass is passed. */
  private async letGo(first: readonly Head[]): Promise<void> {
    for (let heads = first; heads.length > 0; ) {
      await this.sendHeads(heads.filter(({ state }) => state === 'WAITING').map(({ id }) => id));
      const passed = heads.filter(isPassed);
      await this.heads.leave(passed.map(({ id }) => id));
      heads = await this.heads.of(passed.map(({ open_key: key }) => key));
    }
  }

  private async sendHeads(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    if (!this.broker.publisher.isUp || !this.loop || this.loop.room < ids.length) {
      await this.heads.makeDue(ids);
      return this.loop?.wake();
    }
    const rows = await failpoint(failpoints.released, () => this.heads.claim(ids));
    for (const row of rows) this.loop.runNow(row, { takesShare: false });
  }

  private async releaseStranded(stopping: AbortSignal): Promise<void> {
    for (let after: string | null = ''; after !== null && !stopping.aborted; ) {
      const { keys, next } = await this.heads.stranded(after);
      await this.release(keys);
      after = next;
    }
  }

  private async run(row: KeyedRow): Promise<Tried> {
    if (!row.fresh && !row.isHead) await failpoint(failpoints.claimed, async () => {});
    const isUnsent = row.state === 'PENDING' || row.state === 'WAITING';
    // guard: order.head
    if (isUnsent && !row.isHead && !(await this.heads.isHead(row))) return this.wait(row);
    const tried = row.fresh || row.isHead ? null : await this.beforeResend(row);
    if (tried) return tried;
    try {
      await this.sender.send(row);
    } catch (error) {
      if (error instanceof Unroutable) return { kind: 'failed', error: error.message };
      if (error instanceof Nacked) return this.unreceipted.afterNack(error, Number(row.made_at_ms));
      throw error; // The broker is unavailable. The loop counts no attempt, and the row is due when its lease expires.
    }
    return { kind: 'settled' };
  }

  /** An alert about missing receipts says how many messages wait. It may be open when the row is parked later. */
  private async beforeResend(row: KeyedRow): Promise<Tried | null> {
    const { id, gid, version, sent_at: sentAt } = row;
    const to = { version, awaiting: consumersIn(row.awaiting), kind: 'work' } as const;
    // The receiver of a HELD row has answered, so nothing is given up. Without a consumer its last copy still asks.
    if (row.state === 'HELD') return (await this.unreceipted.isAbandoned(to)) ? this.sender.askLater(row) : null;
    const step = stepOf(row, ` (${await this.waitingText(row)})`);
    return this.unreceipted.beforeSend(row, { scheme: SCHEME, id, gid, step, sentAt, ...to });
  }

  private async waitingText(row: KeyedRow): Promise<string> {
    return `${await waitingBehind(this.database.own, row.open_key)} later messages of the key wait`;
  }

  /** A message behind the head. The head may end while this is written, so this process looks once more. */
  private async wait(row: KeyedRow): Promise<Tried> {
    await failpoint(failpoints.notHead, () => this.heads.wait(row));
    // guard: order.look-again
    await this.release([row.stream_key]);
    return { kind: 'settled' };
  }

  /** The alert of a parked head says how many messages wait for it. */
  private async withWaiting(row: KeyedRow, tried: Tried): Promise<Tried> {
    const isLast = tried.kind === 'fatal' || (tried.kind === 'failed' && row.attempts + 1 >= this.options.attemptsMax);
    if (!isLast || row.open_key === null || row.on_parked === 'pass') return tried;
    return { ...tried, error: `${tried.error}; ${await this.waitingText(row)}` };
  }

  /** A copy that is still in a queue may be handled after a successor. The operator decides that. */
  private async resolve(tx: EntityManager, row: TableRow, outcome: Outcome): Promise<boolean> {
    if (outcome === 'reject') return false;
    await settleFinal(sqlOf(tx), KEYED, { ids: [row.id], also: { sql: 'm.open_key = NULL', values: [] } });
    this.database.hooks.afterCommit(tx, async () => {
      void this.release([String(row.stream_key)]).catch((error) =>
        this.logger.warn(`cannot release ${row.stream_key}, the search for stranded keys does: ${textOf(error)}`),
      );
    });
    return true;
  }
}

/** @param note stands in front of the consumers, since a long step is cut */
function stepOf(row: KeyedRow, note = ''): string {
  return `sending ${row.contract}${note} to ${row.awaiting.slice(1, -1)} in order of ${row.stream_key}`;
}
