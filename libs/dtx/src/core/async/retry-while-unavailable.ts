import { setTimeout as sleep } from 'node:timers/promises';
import { isUnavailable } from '../errors/sql-errors.js';
import { type Backoff, backoffMs } from './backoff.js';

export interface Patience {
  /** Aborted when the delivery is lost. The broker then delivers it again. */
  readonly lost: AbortSignal;
  readonly reconnect: Backoff;
  /** Called once per step, with the first error that makes it wait. */
  readonly waiting?: (error: unknown) => void;
}

/**
 * Runs a step of a delivery. While a dependency (database, broker, Redis) is unavailable, it waits and repeats the
 * step. This does not count as an attempt.
 * @throws the error of the step for any other reason, and at the latest when the delivery is lost
 */
export async function retryWhileUnavailable<T>(
  { lost, reconnect, waiting }: Patience,
  step: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await step();
    } catch (error) {
      if (lost.aborted || !isUnavailable(error)) throw error;
      if (attempt === 1) waiting?.(error);
      await sleep(backoffMs(reconnect, attempt), undefined, { signal: lost });
    }
  }
}
