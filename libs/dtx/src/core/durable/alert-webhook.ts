import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Database } from '../database/database.service.js';
import type { CoreOptions } from '../options.js';
import { CORE_OPTIONS } from '../tokens.js';
import { Alerts } from './alerts.js';
import type { DurableRow, DurableTable } from './durable-table.js';
import { DurableLoop, type Tried } from './loop.js';

type AlertRow = DurableRow<{
  scheme: string;
  subject_id: string;
  gid: string | null;
  step: string;
  alert_error: string | null;
}>;

const TABLE: DurableTable = { name: 'dtx_alert', columns: ['scheme', 'subject_id', 'gid', 'step', 'alert_error'] };
const CALL_LIMIT_MS = 5_000;

/** Posts alerts to the configured URL from their own rows, so that an alert sink that is down delays nothing else. */
@Injectable()
export class AlertWebhook implements OnModuleInit, OnModuleDestroy {
  private readonly loop: DurableLoop<AlertRow>;

  constructor(
    private readonly database: Database,
    alerts: Alerts,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {
    this.loop = new DurableLoop<AlertRow>(
      {
        scheme: 'alert',
        table: TABLE,
        leaseMs: Math.max(options.leaseMs, 2 * CALL_LIMIT_MS),
        scanIntervalMs: options.scanIntervalMs,
        concurrencyMax: 4,
        // For as long as it takes: an alert that is not told is one that nobody hears of.
        attemptsMax: Number.POSITIVE_INFINITY,
        backoff: { firstMs: 1_000, factor: 2, capMs: 600_000 },
        canRun: () => true,
        run: (row) => this.post(row),
        // An alert that cannot be delivered must not raise another.
        describe: () => null,
      },
      database,
      alerts,
    );
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
    const response = await fetch(this.options.alertWebhook!, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ app: this.options.app, ...body, retry: `POST /dtx/transactions/${row.subject_id}/retry` }),
      redirect: 'manual',
      signal: AbortSignal.timeout(CALL_LIMIT_MS),
    }).catch((error: Error) => error);
    if (response instanceof Error) return { kind: 'failed', error: `alert webhook: ${response.message}` };
    await response.body?.cancel();
    if (!response.ok) return { kind: 'failed', error: `alert webhook answered ${response.status}` };
    await this.database.own.query(
      `UPDATE dtx_alert SET state = 'DELIVERED', next_attempt_at = NULL, claim_token = NULL WHERE id = ? AND claim_token = ?`,
      [row.id, row.claim_token],
    );
    return { kind: 'settled' };
  }
}
