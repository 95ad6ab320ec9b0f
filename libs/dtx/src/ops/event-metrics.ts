import { schemeLabel } from '../core/loaded-scheme-names.js';
import { onMeasured } from '../core/telemetry-events.js';
import type { MetricsRegistry, PromClient } from './metrics-registry.js';

/** Histogram buckets in seconds, from a local publisher confirm to a transaction that waited for an operator. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600];

/**
 * Registers the counters and histograms and subscribes them to the library's events. Labels are bounded, since an unknown
 * scheme counts as `other` and consumers are those of this app. Returns the function that unsubscribes and removes them.
 */
export function countInto(registry: MetricsRegistry, { Counter, Histogram }: PromClient): () => void {
  const names: string[] = [];
  const registers = [registry];
  const labelOf = ({ scheme }: { scheme: string }) => ({ scheme: schemeLabel(scheme) });
  const counter = (name: string, help: string, labelNames = ['scheme']) => {
    names.push(name);
    return new Counter({ name, help, labelNames, registers });
  };
  const histogram = (name: string, help: string, labelNames: string[]) => {
    names.push(name);
    return new Histogram({ name, help, labelNames, buckets: SECONDS, registers });
  };

  const started = counter('dtx_started_total', 'Transactions, messages and notifications started in this process');
  const settled = counter('dtx_settled_total', 'Transactions, messages (once per consumer) and notifications settled');
  const parked = counter('dtx_parked_total', 'Transactions, messages and notifications parked for an operator');
  const retried = counter('dtx_retries_total', 'Failed attempts that will be retried');
  const strayed = counter(
    'dtx_stray_statements_total',
    'Statements of a handler that bypassed the transaction of the handler',
    [],
  );
  const denied = counter('dtx_denied_total', 'Calls to /dtx without the admin token', ['token']);
  const latency = histogram('dtx_settle_seconds', 'Time from start to settlement', ['scheme']);
  const confirms = histogram('dtx_publish_seconds', 'Time from publish to publisher confirm', ['outcome']);
  const lag = histogram('dtx_consumer_lag_seconds', 'Age of a message when its handler receives it', ['consumer']);

  const ends = [
    onMeasured('started', (event) => started.inc(labelOf(event))),
    onMeasured('parked', (event) => parked.inc(labelOf(event))),
    onMeasured('retried', (event) => retried.inc(labelOf(event))),
    onMeasured('strayed', () => strayed.inc()),
    onMeasured('denied', ({ token }) => denied.inc({ token })),
    onMeasured('settled', (event) => {
      settled.inc(labelOf(event));
      if (event.ms !== undefined) latency.observe(labelOf(event), Math.max(0, event.ms) / 1_000);
    }),
    onMeasured('published', ({ outcome, ms }) => confirms.observe({ outcome }, ms / 1_000)),
    onMeasured('delivered', ({ consumer, lagMs }) => {
      if (lagMs !== undefined) lag.observe({ consumer }, Math.max(0, lagMs) / 1_000);
    }),
  ];
  return () => {
    for (const end of ends) end();
    for (const name of names) registry.removeSingleMetric(name);
  };
}
