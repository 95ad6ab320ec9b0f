import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Database } from '../database/database.service.js';
import { CORE_OPTIONS } from '../injection-tokens.js';
import type { CoreOptions } from '../options.js';
import { ALERTS } from './alert-and-operation-tables.js';
import { retryCall } from './alerts.js';
import type { DurableLoop, Tried } from './durable-loop.js';
import type { DurableRow } from './durable-table.js';
import { DurableLoops } from './loop-factory.js';
import { settleFinal } from './settle-or-park.js';

type AlertRow = DurableRow<{
  scheme: string;
  subject_id: string;
  gid: string | null;
  step: string;
  alert_error: string | null;
  closes_by: string;
}>;

const CALL_LIMIT_MS = 5_000;

/**
 * Posts alerts to `alertWebhook` from their rows, so that an unavailable webhook delays nothing else. If the process
 * dies after the POST, the alert is posted again. The receiver must be idempotent by `id`.
 */
@Injectable()
export class AlertWebhook implements OnModuleInit, OnModuleDestroy {
  private readonly loop: DurableLoop<AlertRow>;

  constructor(
    private readonly database: Database,
    loops: DurableLoops,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {
    this.loop = loops.create<AlertRow>({
      scheme: 'alert',
      table: ALERTS,
      leaseMs: Math.max(options.leaseMs, 2 * CALL_LIMIT_MS),
      scanIntervalMs: options.scanIntervalMs,
      concurrencyMax: 4,
      // Retries without limit, because an alert must not be lost.
      attemptsMax: Number.POSITIVE_INFINITY,
      backoff: { firstMs: 1_000, factor: 2, capMs: 600_000 },
      canRun: () => true,
      run: (row) => this.post(row),
      // A failed alert must not raise another alert.
      describe: () => null,
    });
  }

  onModuleInit(): void {
    if (this.options.alertWebhook) this.database.onReady(() => this.loop.start());
  }

  async onModuleDestroy(): Promise<void> {
    await this.loop.stop();
  }

  private async post(row: AlertRow): Promise<Tried> {
    const body = {
      id: row.id,
      scheme: row.scheme,
      subject: row.subject_id,
      gid: row.gid,
      step: row.step,
      lastError: row.alert_error,
    };
    const retry = row.closes_by === 'retry' ? retryCall(row.subject_id) : null;
    const response = await fetch(this.options.alertWebhook!, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ app: this.options.app, ...body, retry }),
      redirect: 'manual',
      signal: AbortSignal.timeout(CALL_LIMIT_MS),
    }).catch((error: Error) => error);
    if (response instanceof Error) return { kind: 'failed', error: `cannot post to alertWebhook: ${response.message}` };
    await response.body?.cancel();
    if (!response.ok) return { kind: 'failed', error: `alertWebhook answered ${response.status}` };
    const only = { sql: 'm.claim_token = ?', values: [row.claim_token] };
    await settleFinal(this.database.own, ALERTS, { ids: [row.id], only });
    return { kind: 'settled' };
  }
}
