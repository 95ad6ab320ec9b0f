// Step 4 of 6 - check-back: copies whose time ended come back and are settled by the verdict, or rule it.
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, Logger, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Alerts } from '../core/alert/alerts.js';
import { backoffMs } from '../core/backoff.js';
import { Broker } from '../core/broker/broker.service.js';
import type { Delivery, QueueConsumer } from '../core/broker/consumer.js';
import { Database } from '../core/database/database.service.js';
import { insertFirst, NOW, SqlExpression } from '../core/database/insert-first.js';
import { isLockWait, isUnavailable } from '../core/database/sql-errors.js';
import { Batcher } from '../core/durable/batcher.js';
import { NEVER_BY_ITSELF } from '../core/durable/claim.js';
import { failpoint } from '../core/failpoint.js';
import type { CoreOptions } from '../core/options.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { Copies, type Copy, copyBody } from './copies.js';
import { failpoints, SCHEME } from './failpoints.js';
import { HalfMessages, ruleBack } from './half-messages.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';

type Verdict = 'COMMITTED' | 'SENT' | 'ROLLED_BACK' | 'ABSENT';

const READ_DELAY_MS = 3;

/** Asks back (seed: RocketMQ 4), in any live instance of the producer. The verdict row is the answer; the user writes none. */
@Injectable()
export class CheckBack implements OnModuleInit, OnModuleDestroy {
  private readonly logger = new Logger('CheckBack');
  private readonly reads: Batcher<{ id: string; verdict: Verdict }>;
  private consumer: QueueConsumer | undefined;

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly copies: Copies,
    private readonly halfMessages: HalfMessages,
    private readonly alerts: Alerts,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(HALF_MESSAGE_OPTIONS) private readonly options: HalfMessageOptions,
  ) {
    this.reads = new Batcher({ delayMs: READ_DELAY_MS, batchMax: options.checkPrefetch }, (asked) =>
      this.readAll(asked),
    );
  }

  onModuleInit(): void {
    const how = { prefetch: this.options.checkPrefetch, kind: 'replicated' } as const;
    this.database.onReady(() => {
      this.consumer = this.broker.consume(this.copies.checkQueue, (delivery) => this.receive(delivery), how);
    });
  }

  async onModuleDestroy(): Promise<void> {
    await this.consumer?.stop(this.core.drainMs);
  }

  private async receive(delivery: Delivery): Promise<void> {
    const copy = parse(delivery.message.content);
    if (copy) await this.persist(delivery.lost, () => this.check(copy));
    else
      this.logger.error(
        `dropped something from the check queue that is no copy: ${delivery.message.content.subarray(0, 200)}`,
      );
    delivery.ack();
  }

  /** A database or broker that is away is no check: wait, count nothing. */
  private async persist(lost: AbortSignal, step: () => Promise<void>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await step();
      } catch (error) {
        if (lost.aborted || !isUnavailable(error)) throw error;
        await sleep(backoffMs(this.core.reconnect, attempt), undefined, { signal: lost });
      }
    }
  }

  /** Settles one copy: publish, drop, or ask again later. Public for the person who retries a parked one. */
  async check(copy: Copy): Promise<void> {
    const verdict = await this.verdictOf(copy);
    if (verdict === 'unknown') return this.postpone(copy);
    if (verdict !== 'COMMITTED') return; // sent, or never was
    await failpoint(failpoints.checked, () => this.copies.deliver(copy.message));
    void this.halfMessages.marked(copy.message.id).catch(() => {});
  }

  private async verdictOf(copy: Copy): Promise<Verdict | 'unknown'> {
    const known = await this.read(copy.message.id);
    if (known !== 'ABSENT') return known;
    try {
      const ruled = await failpoint(failpoints.ruled, () => ruleBack(this.database, copy.message));
      return ruled ? 'ROLLED_BACK' : await this.read(copy.message.id);
    } catch (error) {
      // The local transaction is still open. This, and only this, counts as a check.
      if (isLockWait(error)) return 'unknown';
      throw error;
    }
  }

  /** On to the next level, confirmed before the ack. After the last one a person must look: never dropped in silence. */
  private async postpone({ checks, message }: Copy): Promise<void> {
    if (checks + 1 < this.copies.checksMax) {
      await failpoint(failpoints.postponed, () => this.copies.wait({ checks: checks + 1, message }));
      return;
    }
    await failpoint(failpoints.exhausted, () => this.park({ checks, message }));
  }

  private async park({ checks, message }: Copy): Promise<void> {
    const lastError = `its local transaction is still open after ${checks + 1} checks`;
    const id = `check.${message.id}`;
    const incident = {
      scheme: SCHEME,
      id,
      gid: message.gid,
      step: `checking half message ${message.contract}`,
      lastError,
    };
    const parked = await this.database.own.transaction(async (tx) => {
      const row = { id, gid: message.gid, message: JSON.stringify(message), state: 'PARKED', attempts: checks + 1 };
      const first = await insertFirst(tx, 'dtx_half_parked', {
        ...row,
        last_error: lastError,
        next_attempt_at: new SqlExpression(NEVER_BY_ITSELF),
        created_at: NOW,
      });
      if (first) await this.alerts.raise(tx, incident);
      return first;
    });
    if (parked) this.alerts.announce(incident);
  }

  /** Plain reads of many copies in one statement settle those whose verdict is known, which is nearly all. */
  private async read(id: string): Promise<Verdict> {
    const asked = { id, verdict: 'ABSENT' as Verdict };
    await this.reads.add(asked);
    return asked.verdict;
  }

  private async readAll(asked: Array<{ id: string; verdict: Verdict }>): Promise<void> {
    const rows = await this.database.own.query('SELECT id, verdict, state FROM dtx_half WHERE id IN (?)', [
      asked.map(({ id }) => id),
    ]);
    const found = new Map<string, Verdict>(
      rows.map((row: Record<string, string>) => [row.id, row.state === 'SENT' ? 'SENT' : row.verdict]),
    );
    for (const one of asked) one.verdict = found.get(one.id) ?? 'ABSENT';
  }
}

function parse(content: Buffer): Copy | null {
  try {
    return copyBody.parse(JSON.parse(content.toString('utf8')));
  } catch {
    return null;
  }
}
