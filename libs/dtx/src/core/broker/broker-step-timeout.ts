import { withTimeout } from '../async/with-timeout.js';
import { BrokerUnavailable } from '../errors/errors.js';

/** Wait in milliseconds for a channel or a connection to close. Afterwards it is abandoned. */
export const CLOSE_LIMIT_MS = 1_500;

/**
 * Waits for a step of the broker, for a limited time or until a signal. The step itself goes on, and its late result
 * has no effect.
 * @throws BrokerUnavailable after the time limit or the signal
 */
export function within<T>(limitMs: number, what: string, step: Promise<T>, stop?: AbortSignal): Promise<T> {
  const late = () => {
    throw noAnswer(limitMs, what);
  };
  const end = stop ? orStopped(step, what, stop) : step;
  return withTimeout(limitMs, end, late);
}

export function noAnswer(limitMs: number, what: string): BrokerUnavailable {
  return new BrokerUnavailable(
    `${what}: RabbitMQ did not answer within ${Math.round(limitMs)} ms; check its alarms and load`,
  );
}

async function orStopped<T>(step: Promise<T>, what: string, stop: AbortSignal): Promise<T> {
  let onStop!: () => void;
  const stopping = new Promise<never>((_, reject) => {
    onStop = () => reject(new BrokerUnavailable(`${what}: the application is stopping`));
  });
  if (stop.aborted) onStop();
  stop.addEventListener('abort', onStop);
  try {
    return await Promise.race([step, stopping]);
  } finally {
    stop.removeEventListener('abort', onStop);
  }
}
