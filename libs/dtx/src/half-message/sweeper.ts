// Step 6 of 6 - sweeper: the last net, over verdicts that were never marked as sent, or have no receipt, should the broker lose a copy or a message.
import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Broker } from '../core/broker/broker.service.js';
import { Database } from '../core/database/database.service.js';
import { Alerts } from '../core/durable/alerts.js';
import type { DurableLoop, Tried } from '../core/durable/loop.js';
import { DurableLoops } from '../core/durable/loops.js';
import { Unreceipted } from '../core/durable/unreceipted.js';
import { failpoint } from '../core/failpoint.js';
import type { CoreOptions } from '../core/options.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { failpoints, SCHEME } from './failpoints.js';
import { HALF, type HalfRow } from './half-message-table.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';
import { Copies } from './prepared-messages.js';
import { Verdicts } from './verdicts.js';

/** The messages of one contract take this part of the places at the most: a consumer that is gone delays no other contract. */
const LANES = 4;

/**
 * Needed because the broker holds the only other trace of a committed message that was not sent: a waiting queue that
 * an operator deletes, or a node that loses its disk, takes the copies along. Comes after the first check, not before.
 * And a queue that expires, or drops what is delivered too often, loses the message itself: no receipt comes.
 */
@Injectable()
export class Sweeper implements OnModuleInit, OnModuleDestroy {
  private readonly loop: DurableLoop<HalfRow>;
  private readonly unreceipted: Unreceipted;

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly copies: Copies,
    private readonly verdicts: Verdicts,
    alerts: Alerts,
    loops: DurableLoops,
    @Inject(CORE_OPTIONS) core: CoreOptions,
    @Inject(HALF_MESSAGE_OPTIONS) options: HalfMessageOptions,
  ) {
    const patience = { ...options, resend: options.sweepBackoff };
    this.unreceipted = new Unreceipted(HALF, database, broker.publisher, alerts, patience);
    this.loop = loops.create<HalfRow>({
      scheme: SCHEME,
      table: HALF,
      leaseMs: core.leaseMs,
      scanIntervalMs: core.scanIntervalMs,
      concurrencyMax: core.claimBatchMax,
      laneMax: Math.ceil(core.claimBatchMax / LANES),
      attemptsMax: options.attemptsMax,
      backoff: options.sweepBackoff,
      canRun: () => broker.publisher.isUp,
      run: (row) => this.sweep(row),
      describe: (row) => ({ gid: row.gid, step: stepOf(row) }),
    });
  }

  onModuleInit(): void {
    // guard: half-message.sweeper
    this.database.onReady(() => this.loop.start());
    this.broker.publisher.on('up', () => this.loop.wake());
  }

  async onModuleDestroy(): Promise<void> {
    await this.loop.stop();
  }

  wake(): void {
    this.loop.wake();
  }

  /** Both ways of failing end in the loop: what is away is no attempt, anything else is one. */
  private async sweep(row: HalfRow): Promise<Tried> {
    const { id, gid, version, sent_at: sentAt } = row;
    const message = { scheme: SCHEME, id, gid, step: stepOf(row), sentAt, version, awaiting: awaitingOf(row) };
    const tried = await this.unreceipted.beforeSend(row, { ...message, kind: 'replicated' });
    if (tried) return tried;
    // Those that have sent their receipt already get no copy more.
    const still = { ...row, consumers: message.awaiting.join(',') };
    await failpoint(failpoints.swept, () => this.copies.deliver(still, Number(row.made_at_ms)));
    await this.verdicts.markSent(row);
    return { kind: 'settled' };
  }
}

function stepOf(row: HalfRow): string {
  return `sending ${row.contract} to ${awaitingOf(row).join(',')}`;
}

function awaitingOf({ awaiting, consumers }: HalfRow): string[] {
  return (awaiting ?? consumers).split(',').filter(Boolean);
}
