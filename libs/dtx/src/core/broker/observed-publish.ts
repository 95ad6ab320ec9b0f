import { emit } from '../telemetry-events.js';
import { tracedStep } from '../traced-steps.js';
import type { Envelope } from './envelope.js';

/** Counts and times a publish. A message that carries a trace is a step of it. Receipts and answers carry none. */
export async function observed(queue: string, envelope: Envelope, publish: () => Promise<void>): Promise<void> {
  const { scheme, gid, messageId, traceparent } = envelope;
  const since = performance.now();
  let outcome: 'confirmed' | 'failed' = 'failed';
  try {
    if (traceparent === undefined) await publish();
    else {
      const step = { operation: 'publish', target: queue, scheme, gid, messageId, isCausedByMessage: true };
      await tracedStep(step, publish);
    }
    outcome = 'confirmed';
  } finally {
    emit('published', { outcome, ms: performance.now() - since });
  }
}
