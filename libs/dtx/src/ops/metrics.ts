import { Injectable, OnModuleDestroy } from '@nestjs/common';
import { Broker } from '../core/broker/broker.service.js';
import { Database } from '../core/database/database.service.js';
import { schemeLabel } from '../core/loaded-scheme-names.js';
import { countInto } from './event-metrics.js';
import type { Gauge, MetricsRegistry, PromClient } from './metrics-registry.js';
import { Counts } from './open-row-counts.js';

/**
 * The metrics of one application. They are in the registry that the app gives, or in a private one together with the default
 * metrics of Node. Gauges are computed when the registry is read. Several applications in a process need a registry each.
 * @example
 *   response.type('text/plain').send(await this.metrics.text());
 */
@Injectable()
export class Metrics implements OnModuleDestroy {
  /** The registry of prom-client with these metrics. */
  readonly registry: MetricsRegistry;
  private readonly rows: Gauge;
  private readonly age: Gauge;
  private readonly countedAgo: Gauge;
  private readonly scanned: Gauge;
  private readonly up: Gauge;
  private readonly names: string[] = [];
  private making: Promise<string> | undefined;
  private computing: Promise<void> | undefined;
  private readonly endCounting: () => void;

  constructor(
    private readonly counts: Counts,
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly client: PromClient,
    given?: MetricsRegistry,
  ) {
    this.registry = given ?? new client.Registry();
    if (!given) client.collectDefaultMetrics({ register: this.registry });
    this.endCounting = countInto(this.registry, client);
    this.rows = this.gauge('dtx_open_rows', 'Rows that are not final, by state', ['scheme', 'source', 'state']);
    this.age = this.gauge('dtx_oldest_due_seconds', 'Age of the oldest due row. Grows when recovery does not keep up', [
      'scheme',
      'source',
    ]);
    this.countedAgo = this.gauge(
      'dtx_open_rows_age_seconds',
      'Age of the figures about open rows. Grows while counting fails',
      ['source'],
    );
    this.scanned = this.gauge('dtx_last_scan_seconds', 'Time since the last completed scan of the loop', ['loop']);
    this.up = this.gauge('dtx_broker_up', '1 while both connections to the broker are open', []);
  }

  /** Removes the metrics from the registry, which may outlive this application. */
  onModuleDestroy(): void {
    this.endCounting();
    for (const name of this.names) this.registry.removeSingleMetric(name);
  }

  /** The metrics in the text format. Concurrent callers share one computation. */
  text(): Promise<string> {
    this.making ??= this.registry.metrics().finally(() => {
      this.making = undefined;
    });
    return this.making;
  }

  /** A reader of the registry reads all gauges at the same time, so they share one computation. */
  private gauge(name: string, help: string, labelNames: string[]): Gauge {
    this.names.push(name);
    const collect = () => {
      this.computing ??= this.compute().finally(() => {
        this.computing = undefined;
      });
      return this.computing;
    };
    return new this.client.Gauge({ name, help, labelNames, registers: [this.registry], collect });
  }

  private async compute(): Promise<void> {
    await this.countOpenRows();
    this.up.set(this.broker.isUp ? 1 : 0);
    this.scanned.reset();
    for (const { name, ageMs } of this.database.scans.all) this.scanned.set({ loop: name }, ageMs / 1_000);
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
