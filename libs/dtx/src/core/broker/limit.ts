import { BrokerUnavailable } from '../errors/errors.js';

/** How long a channel or a connection may take to close before it is left behind. Milliseconds. */
export const CLOSE_LIMIT_MS = 1_500;

/**
 * Waits for a step of the broker for a limited time, or until a signal. The step itself goes on: its late end is nobody's
 * business any more.
 * @throws BrokerUnavailable at the end of the time
 */
export async function within<T>(limitMs: number, what: string, step: Promise<T>, stop?: AbortSignal): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  let stopped: (() => void) | undefined;
  const limit = new Promise<never>((_, reject) => {
    const giveUp = () => reject(new BrokerUnavailable(`${what}: no answer within ${Math.round(limitMs)} ms`));
    timer = setTimeout(giveUp, Math.max(1, limitMs));
    stopped = () => reject(new BrokerUnavailable(`${what}: the application stops`));
    if (stop?.aborted) stopped();
    stop?.addEventListener('abort', stopped);
  });
  try {
    return await Promise.race([step, limit]);
  } finally {
    clearTimeout(timer);
    if (stopped) stop?.removeEventListener('abort', stopped);
  }
}
