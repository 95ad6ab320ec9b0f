import { setTimeout as sleep } from 'node:timers/promises';
import { isUnavailable } from '../errors/sql-errors.js';
import { type Backoff, backoffMs } from './backoff.js';

export interface Patience {
  /** Of the delivery: from then on the broker delivers it again. */
  readonly lost: AbortSignal;
  readonly reconnect: Backoff;
  /** Told once per step that has to wait. */
  readonly waiting?: (error: unknown) => void;
}

/**
 * Runs a step of a delivery until it is through, waiting while what it needs (database, broker, Redis) is away: that is
 * not an attempt. Ends with the step's own error, or when the delivery is lost to us: the broker then delivers it again.
 */
export async function persist<T>({ lost, reconnect, waiting }: Patience, step: () => Promise<T>): Promise<T> {
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
