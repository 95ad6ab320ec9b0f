import { withTimeout } from '../async/with-timeout.js';
import { BrokerUnavailable } from '../errors/errors.js';

/** Wait in milliseconds for a channel or a connection to close. Afterwards it is abandoned. */
export const CLOSE_LIMIT_MS = 1_500;

/**
 * Waits for a step of the broker, for a limited time or until a signal. The step itself goes on, and its late result
 * has no effect.
 * @throws BrokerUnavailable after the time limit or the signal
 */
export async function within<T>(limitMs: number, what: string, step: Promise<T>, stop?: AbortSignal): Promise<T> {
  const late = () => {
    throw new BrokerUnavailable(
      `${what}: RabbitMQ did not answer within ${Math.round(limitMs)} ms; check its alarms and load`,
    );
  };
  if (!stop) return withTimeout(limitMs, step, late);
  let onStop!: () => void;
  const stopping = new Promise<never>((_, reject) => {
    onStop = () => reject(new BrokerUnavailable(`${what}: the application is stopping`));
  });
  if (stop.aborted) onStop();
  stop.addEventListener('abort', onStop);
  try {
    return await withTimeout(limitMs, Promise.race([step, stopping]), late);
  } finally {
    stop.removeEventListener('abort', onStop);
  }
}
