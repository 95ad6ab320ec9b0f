import { Injectable, OnModuleDestroy } from '@nestjs/common';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { Broker } from '../core/broker/broker.service.js';
import { Database } from '../core/database/database.service.js';
import { schemeLabel } from '../core/loaded-scheme-names.js';
import { countInto } from './event-metrics.js';
import { Counts } from './open-row-counts.js';

/** The metrics of one application. Several applications in a process have a registry each. */
@Injectable()
export class Metrics implements OnModuleDestroy {
  readonly registry = new Registry();
  private readonly rows: Gauge;
  private readonly age: Gauge;
  private readonly countedAgo: Gauge;
  private readonly scanned: Gauge;
  private readonly up: Gauge;
  private making: Promise<string> | undefined;
  private readonly endCounting: () => void;

  constructor(
    private readonly counts: Counts,
    private readonly database: Database,
    private readonly broker: Broker,
  ) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    this.endCounting = countInto(this.registry);
    const labelNames = ['scheme', 'source', 'state'];
    this.rows = new Gauge({ name: 'dtx_open_rows', help: 'Rows that are not final, by state', labelNames, registers });
    this.age = new Gauge({
      name: 'dtx_oldest_due_seconds',
      help: 'Age of the oldest due row. Grows when recovery does not keep up',
      labelNames: ['scheme', 'source'],
      registers,
    });
    this.countedAgo = new Gauge({
      name: 'dtx_open_rows_age_seconds',
      help: 'Age of the figures about open rows. Grows while counting fails',
      labelNames: ['source'],
      registers,
    });
    this.scanned = new Gauge({
      name: 'dtx_last_scan_seconds',
      help: 'Time since the last completed scan of the loop',
      labelNames: ['loop'],
      registers,
    });
    this.up = new Gauge({ name: 'dtx_broker_up', help: '1 while both connections to the broker are open', registers });
  }

  onModuleDestroy(): void {
    this.endCounting();
  }

  /** The metrics in the text format. Concurrent callers share one computation. */
  text(): Promise<string> {
    this.making ??= this.make().finally(() => {
      this.making = undefined;
    });
    return this.making;
  }

  private async make(): Promise<string> {
    await this.countOpenRows();
    this.up.set(this.broker.isUp ? 1 : 0);
    this.scanned.reset();
    for (const { name, ageMs } of this.database.scans.all) this.scanned.set({ loop: name }, ageMs / 1_000);
    return this.registry.metrics();
  }

  private async countOpenRows(): Promise<void> {
    const counted = await this.counts.read();
    for (const gauge of [this.rows, this.age, this.countedAgo]) gauge.reset(); // a source without open rows reports none
    const oldest = new Map<string, { scheme: string; source: string; ms: number }>();
    for (const { scheme: given, source, states, oldestDueMs, ageMs } of counted) {
      const scheme = schemeLabel(given);
      for (const [state, count] of Object.entries(states)) this.rows.inc({ scheme, source, state }, count);
      const ms = Math.max(oldestDueMs ?? 0, oldest.get(`${scheme} ${source}`)?.ms ?? 0);
      oldest.set(`${scheme} ${source}`, { scheme, source, ms });
      this.countedAgo.set({ source }, ageMs / 1_000);
    }
    for (const { scheme, source, ms } of oldest.values()) this.age.set({ scheme, source }, ms / 1_000);
  }
}
