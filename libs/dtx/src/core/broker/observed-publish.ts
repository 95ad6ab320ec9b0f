import { emit } from '../telemetry-events.js';
import { tracedStep } from '../traced-steps.js';
import type { Envelope } from './envelope.js';

/** Counts and times a publish. A message that carries a trace is a step of it. Receipts and answers carry none. */
export function observed(queue: string, envelope: Envelope, publish: () => Promise<void>): Promise<void> {
  const { scheme, gid, messageId, traceparent } = envelope;
  const since = performance.now();
  const over = (outcome: 'confirmed' | 'failed') => emit('published', { outcome, ms: performance.now() - since });
  const step = { operation: 'publish', target: queue, scheme, gid, messageId, isCausedByMessage: true };
  const published = traceparent === undefined ? publish() : tracedStep(step, publish);
  return published.then(
    () => over('confirmed'),
    (error) => {
      over('failed');
      throw error;
    },
  );
}
