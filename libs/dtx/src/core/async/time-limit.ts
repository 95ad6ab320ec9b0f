import { TookTooLong } from '../errors/errors.js';

/** The longest that a timer of Node's can wait. */
const TIMER_MS_MAX = 2_147_483_647;

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
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const end = () => {
      reject(new TookTooLong(`${what} has not ended within ${limitMs} ms (${option})`));
      onLate?.();
    };
    timer = setTimeout(end, Math.min(limitMs, TIMER_MS_MAX));
  });
  try {
    return await Promise.race([work(), late]);
  } finally {
    clearTimeout(timer);
  }
}
