import { TookTooLong } from '../errors/errors.js';
import { begun } from './begun.js';
import { withTimeout } from './with-timeout.js';

interface Limit {
  /** The subject of the error, such as `@OnMessage(invoice.issued.v1) of mail.send-invoice`. */
  readonly what: string;
  readonly limitMs: number;
  /** The option that sets the limit, named in the error. */
  readonly option?: string;
  readonly onLate?: () => void;
}

/**
 * Runs user code with a time limit. The code itself cannot be stopped. `onLate` takes its resources away, such as its
 * connection.
 * @throws TookTooLong
 */
export function inTimeOf<T>(
  { what, limitMs, option = 'handlerTimeoutMs', onLate }: Limit,
  work: () => T | Promise<T>,
): Promise<T> {
  return withTimeout(limitMs, begun(work), () => {
    onLate?.();
    throw new TookTooLong(`${what} has not ended within ${limitMs} ms (${option})`);
  });
}
