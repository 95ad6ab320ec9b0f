// Every wait of the commands has a limit and says what it waited for.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Say } from './say-type.js';

type Falsy = null | undefined | false | '' | 0;

/** Calls `look` until it returns a truthy value. Returns null if the limit is reached first. */
export async function until<T>(
  look: () => T | Falsy | Promise<T | Falsy>,
  { boundMs, everyMs = 100 }: { boundMs: number; everyMs?: number },
): Promise<T | null> {
  const end = Date.now() + boundMs;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() + everyMs > end) return null;
    await sleep(everyMs);
  }
}

interface ProgressOptions {
  readonly say: Say;
  readonly what: string;
  /** The present reason of the wait, behind each line. */
  readonly detail?: () => string;
  readonly everyMs?: number;
}

/** Prints a line now and then while `work` runs, so that a long step is never silent. */
export async function withProgress<T>(
  work: () => Promise<T>,
  { say, what, detail = () => '', everyMs = 10_000 }: ProgressOptions,
): Promise<T> {
  const since = Date.now();
  const timer = setInterval(
    () => say(`${what}: still at it after ${Math.round((Date.now() - since) / 1000)} s${detail()}`),
    everyMs,
  );
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

export const secondsSince = (since: number): string => ((Date.now() - since) / 1000).toFixed(1);
