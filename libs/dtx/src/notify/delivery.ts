// Steps 3 to 4 of 5 - deliver: calls the target until it answers 2xx. The retry schedule ends with PARKED and an alert.
// If the process dies before the mark, another instance calls the target again, under the same `webhook-id`.

import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Batcher } from '../core/async/batcher.js';
import { Database } from '../core/database/database.service.js';
import { sqlOf } from '../core/database/transaction-sql-executor.js';
import { giveBack } from '../core/durable/claim-and-reschedule.js';
import type { DurableLoop, Tried } from '../core/durable/durable-loop.js';
import { DurableLoops } from '../core/durable/loop-factory.js';
import { settleFinal } from '../core/durable/settle-or-park.js';
import { textOf } from '../core/errors/errors.js';
import { failpoint } from '../core/failpoint.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { measure } from '../core/telemetry-events.js';
import { failpoints, SCHEME } from './failpoints.js';
import { DEFAULT_TARGET_HOST, NO_TARGET, NOTIFICATIONS, type NotificationRow } from './notification-table.js';
import { leaseMsOf, NOTIFY_OPTIONS, type NotifyOptions } from './options.js';
import { signatureHeaders } from './signature.js';
import { TargetRefused } from './ssrf-guard.js';
import { type Answer, WebhookClient } from './webhook-client.js';

const MARK_BATCH_MAX = 200;
/** 410 Gone (RFC 9110, 15.5.11). The target is permanently gone, so no retry follows. */
const GONE = 410;

/** Calls targets. The fast path (a row just recorded) and the scan (a claimed row) run the same code. */
@Injectable()
export class Deliveries implements OnModuleInit, OnModuleDestroy {
  private readonly loop: DurableLoop<NotificationRow>;
  private readonly marks: Batcher<NotificationRow>;

  constructor(
    private readonly database: Database,
    private readonly client: WebhookClient,
    loops: DurableLoops,
    @Inject(CORE_OPTIONS) core: CoreOptions,
    @Inject(NOTIFY_OPTIONS) private readonly options: NotifyOptions,
  ) {
    this.marks = new Batcher({ delayMs: options.markDelayMs, batchMax: MARK_BATCH_MAX }, (rows) =>
      failpoint(failpoints.delivered, () => this.markDelivered(rows)),
    );
    this.loop = loops.create<NotificationRow>({
      scheme: SCHEME,
      table: NOTIFICATIONS,
      leaseMs: leaseMsOf(core, options),
      scanIntervalMs: core.scanIntervalMs,
      concurrencyMax: options.concurrencyMax,
      // guard: notify.per-key
      perKeyMax: options.targetConcurrencyMax,
      attemptsMax: options.ladderMs.length + 1,
      backoff: { stepsMs: options.ladderMs },
      canRun: () => true,
      run: (row, answered) => this.run(row, answered),
      writeMarks: () => this.marks.drain(),
      describe: (row) => ({ gid: row.gid, step: `calling ${row.target_host} with ${row.type}` }),
      resolve: async (tx, row, outcome) => outcome === 'done' && close(tx, row.id),
    });
  }

  onModuleInit(): void {
    // Without a secret no call can be signed. The rows stay PENDING until a start with one.
    if (this.options.secrets.length > 0) this.database.onReady(() => this.loop.start());
  }

  async onModuleDestroy(): Promise<void> {
    await this.loop.stop();
    await this.marks.drain();
  }

  wake(): void {
    this.loop.wake();
  }

  hasRoomFor(row: NotificationRow): boolean {
    return this.loop.hasRoomIn(row.target_host);
  }

  /** The fast path, for a row that this process has just recorded and leases. Without room it gives the row back. */
  async deliverNow(row: NotificationRow): Promise<void> {
    if (this.hasRoomFor(row)) this.loop.runSoon(row);
    else await giveBack(this.database.own, NOTIFICATIONS, [row]);
  }

  private async run(row: NotificationRow, answered: () => void): Promise<Tried> {
    if (!row.fresh) await failpoint(failpoints.claimed, async () => {});
    const answer = await failpoint(failpoints.called, () => this.call(row));
    if ('kind' in answer) return answer;
    if (answer.status < 200 || answer.status > 299) return this.refused(row, answer);
    answered();
    await this.marks.add(row);
    return { kind: 'settled' };
  }

  /** Calls the target. It never throws, since every error of a call counts as a failed attempt. */
  private async call(row: NotificationRow): Promise<Answer | Tried> {
    const isForDefault = row.target_host === DEFAULT_TARGET_HOST;
    const target = isForDefault ? this.options.defaultTarget : row.target;
    if (!target || row.body === null) {
      const why = isForDefault ? NO_TARGET : 'row has no target or no body; resolve it by hand';
      return { kind: 'fatal', error: `cannot call ${row.target_host}: ${why}` };
    }
    const { secrets } = this.options;
    const headers = {
      'content-type': 'application/json',
      'user-agent': 'nest-dtx',
      ...signatureHeaders({ id: row.id, body: row.body, secrets, nowMs: this.database.nowMs() }),
      ...(row.traceparent ? { traceparent: row.traceparent } : {}),
    };
    try {
      return await this.client.post(target, headers, row.body);
    } catch (error) {
      const text = `${row.target_host}: ${textOf(error)}`;
      if (error instanceof TargetRefused) return { kind: 'fatal', error: text };
      return { kind: 'failed', error: text, isSilent: true };
    }
  }

  /** Redirects are not followed. They count as any other answer that is not 2xx. */
  private refused({ target_host }: NotificationRow, { status, retryAfterMs }: Answer): Tried {
    const error = `${target_host} answered ${status}`;
    if (status === GONE) return { kind: 'fatal', error };
    return { kind: 'failed', error, atLeastMs: Math.min(retryAfterMs, this.options.retryAfterMaxMs) };
  }

  /** Not fenced by the claim token, since a 2xx answer is final whichever process received it. */
  private async markDelivered(rows: NotificationRow[]): Promise<void> {
    await settleFinal(this.database.own, NOTIFICATIONS, {
      ids: rows.map((row) => row.id),
      also: { sql: 'm.attempts = m.attempts + 1', values: [] },
      only: { sql: `m.state = 'PENDING'`, values: [] },
    });
    for (const { id } of rows) measure('settled', { scheme: SCHEME, ms: this.database.ageMs(id), id });
  }
}

/** Settles a notification by hand (`done`). `reject` has no meaning for a fact that already happened. */
async function close(tx: EntityManager, id: string): Promise<boolean> {
  await settleFinal(sqlOf(tx), NOTIFICATIONS, { ids: [id], state: `'CLOSED'` });
  return true;
}
