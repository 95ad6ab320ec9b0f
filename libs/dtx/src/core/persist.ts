import { setTimeout as sleep } from 'node:timers/promises';
import { type Backoff, backoffMs } from './backoff.js';
import { isUnavailable } from './database/sql-errors.js';

/**
 * Runs a step of a delivery until it is through, waiting while the database or the broker is away: that is not an
 * attempt. Ends with the step's own error, or when the delivery is lost to us: the broker then delivers it again.
 */
export async function persist<T>(
  { lost, reconnect }: { lost: AbortSignal; reconnect: Backoff },
  step: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await step();
    } catch (error) {
      if (lost.aborted || !isUnavailable(error)) throw error;
      await sleep(backoffMs(reconnect, attempt), undefined, { signal: lost });
    }
  }
}
