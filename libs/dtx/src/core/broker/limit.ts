import { withTimeout } from '../async/with-timeout.js';
import { BrokerUnavailable } from '../errors/errors.js';

/** How long a channel or a connection may take to close before it is left behind. Milliseconds. */
export const CLOSE_LIMIT_MS = 1_500;

/**
 * Waits for a step of the broker for a limited time, or until a signal. The step itself goes on: its late end is nobody's
 * business any more.
 * @throws BrokerUnavailable at the end of the time
 */
export async function within<T>(limitMs: number, what: string, step: Promise<T>, stop?: AbortSignal): Promise<T> {
  const stopped = `${what}: the application stops`;
  let onStop!: () => void;
  const stopping = new Promise<never>((_, reject) => {
    onStop = () => reject(new BrokerUnavailable(stopped));
  });
  if (stop?.aborted) onStop();
  stop?.addEventListener('abort', onStop);
  try {
    return await withTimeout(limitMs, Promise.race([step, stopping]), () => {
      throw new BrokerUnavailable(`${what}: no answer within ${Math.round(limitMs)} ms`);
    });
  } finally {
    stop?.removeEventListener('abort', onStop);
  }
}
