import { TookTooLong } from '../errors/errors.js';
import { withTimeout } from './with-timeout.js';

interface Limit {
  /** What is waited for, as the subject of the error. */
  readonly what: string;
  readonly limitMs: number;
  /** Which option says so. */
  readonly option?: string;
  readonly onLate?: () => void;
}

/**
 * Waits for code of the user's, for so many milliseconds at the most. The code itself cannot be stopped: `onLate` takes
 * from it what it holds.
 * @throws TookTooLong
 */
export async function inTimeOf<T>(
  { what, limitMs, option = 'handlerTimeoutMs', onLate }: Limit,
  work: () => T | Promise<T>,
): Promise<T> {
  const begun = (async () => work())();
  return withTimeout(limitMs, begun, () => {
    onLate?.();
    throw new TookTooLong(`${what} has not ended within ${limitMs} ms (${option})`);
  });
}
