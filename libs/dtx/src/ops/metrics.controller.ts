import { Controller, Get, Header, Injectable, OnModuleDestroy } from '@nestjs/common';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { Broker } from '../core/broker/broker.service.js';
import { Operations, type SummaryRow } from '../core/operations.js';
import { countInto, schemeLabel } from './counters.js';

const SUMMARY_LIMIT_MS = 2_000;

/** A registry of the application's own: several in one process do not share one. */
@Injectable()
export class Metrics implements OnModuleDestroy {
  readonly registry = new Registry();
  private readonly rows: Gauge;
  private readonly age: Gauge;
  private readonly up: Gauge;
  private readonly endCounting: () => void;

  constructor(
    private readonly operations: Operations,
    private readonly broker: Broker,
  ) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    this.endCounting = countInto(this.registry);
    const labelNames = ['scheme', 'source', 'state'];
    this.rows = new Gauge({ name: 'dtx_open_rows', help: 'Rows that are not final, by state', labelNames, registers });
    this.age = new Gauge({
      name: 'dtx_oldest_due_seconds',
      help: 'Age of the oldest row that is due; grows when recovery does not keep up',
      labelNames: ['scheme', 'source'],
      registers,
    });
    this.up = new Gauge({ name: 'dtx_broker_up', help: '1 while both connections to the broker are open', registers });
  }

  onModuleDestroy(): void {
    this.endCounting();
  }

  async text(): Promise<string> {
    this.up.set(this.broker.isUp ? 1 : 0);
    // A database that does not answer must not take the other figures away as well.
    const limit = new Promise<SummaryRow[]>((resolve) => setTimeout(resolve, SUMMARY_LIMIT_MS, []).unref());
    const summaries = await Promise.all(
      this.operations.sources.map((source) => Promise.race([limit, source.summary().catch(() => [])])),
    );
    this.rows.reset();
    this.age.reset(); // a scheme without open rows tells nothing of itself any more
    const oldest = new Map<string, { scheme: string; source: string; ms: number }>();
    for (const { scheme: given, source, states, oldestDueMs } of summaries.flat()) {
      const scheme = schemeLabel(given);
      for (const [state, count] of Object.entries(states)) this.rows.inc({ scheme, source, state }, count);
      const ms = Math.max(oldestDueMs ?? 0, oldest.get(`${scheme} ${source}`)?.ms ?? 0);
      oldest.set(`${scheme} ${source}`, { scheme, source, ms });
    }
    for (const { scheme, source, ms } of oldest.values()) this.age.set({ scheme, source }, ms / 1_000);
    return this.registry.metrics();
  }
}

@Controller('metrics')
export class MetricsController {
  constructor(private readonly metrics: Metrics) {}

  @Get()
  @Header('content-type', 'text/plain; version=0.0.4; charset=utf-8')
  async get(): Promise<string> {
    return this.metrics.text();
  }
}
