const TIMER_MS_MAX = 2_147_483_647;

/**
 * A signal that is aborted with the given one, and after a time limit in milliseconds.
 *
 * `AbortSignal.any` refers to its sources weakly. So a source that `AbortSignal.timeout` makes is garbage collected with its
 * timer in Node 20, and the limit never comes. Here the timer holds its source. It does not keep the process alive.
 * @throws RangeError for a limit that no timer takes
 */
export function abortedWithin(signal: AbortSignal, limitMs: number): AbortSignal {
  if (!(limitMs >= 0 && limitMs <= TIMER_MS_MAX))
    throw new RangeError(`invalid time limit: ${limitMs} ms; use 0 to ${TIMER_MS_MAX}`);
  const limit = new AbortController();
  const late = () => limit.abort(new DOMException(`no end within ${limitMs} ms`, 'TimeoutError'));
  setTimeout(late, limitMs).unref();
  return AbortSignal.any([signal, limit.signal]);
}
