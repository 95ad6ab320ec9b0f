import { Counter, Histogram, type Registry } from 'prom-client';
import { schemeLabel } from '../core/scheme.js';
import { onMeasured } from '../core/telemetry.js';

/** From a confirm on the same machine to a purchase that waited for a person. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600];

/**
 * Counts what happens. Labels are bounded whatever comes in: a scheme that a message only claims to have is `other`, and
 * consumers are those that this app has. Returns how to end it.
 */
export function countInto(registry: Registry): () => void {
  const registers = [registry];
  const labelOf = ({ scheme }: { scheme: string }) => ({ scheme: schemeLabel(scheme) });
  const counter = (name: string, help: string, labelNames = ['scheme']) =>
    new Counter({ name, help, labelNames, registers });
  const histogram = (name: string, help: string, labelNames: string[]) =>
    new Histogram({ name, help, labelNames, buckets: SECONDS, registers });

  const started = counter('dtx_started_total', 'Transactions, messages and notifications begun here');
  const settled = counter('dtx_settled_total', 'Those that came to their end; a message once per consumer');
  const parked = counter('dtx_parked_total', 'Those that gave up and wait for a person');
  const retried = counter('dtx_retries_total', 'Attempts that failed and will be made again');
  const strayed = counter(
    'dtx_stray_statements_total',
    'Statements that went past the transaction of their handler',
    [],
  );
  const latency = histogram('dtx_settle_seconds', 'From beginning to end', ['scheme']);
  const confirms = histogram('dtx_publish_seconds', 'From publishing to the confirm of the broker', ['outcome']);
  const lag = histogram('dtx_consumer_lag_seconds', 'Age of a message when its handler gets it', ['consumer']);

  const ends = [
    onMeasured('started', (event) => started.inc(labelOf(event))),
    onMeasured('parked', (event) => parked.inc(labelOf(event))),
    onMeasured('retried', (event) => retried.inc(labelOf(event))),
    onMeasured('strayed', () => strayed.inc()),
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
  };
}
