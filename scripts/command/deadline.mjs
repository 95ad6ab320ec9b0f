// Waiting with a bound: every wait of these commands ends, and says what it waited for.
import { setTimeout as sleep } from 'node:timers/promises';

/** Calls `look` until it gives something truthy; null when the bound is reached first. */
export async function until(look, { boundMs, everyMs = 100 }) {
  const end = Date.now() + boundMs;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() + everyMs > end) return null;
    await sleep(everyMs);
  }
}

/** Prints a line now and then while `work` runs, so that a long step is never silent. */
export async function withProgress(work, { say, what, everyMs = 10_000 }) {
  const since = Date.now();
  const timer = setInterval(
    () => say(`${what}: still at it after ${Math.round((Date.now() - since) / 1000)} s`),
    everyMs,
  );
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

export const secondsSince = (since) => ((Date.now() - since) / 1000).toFixed(1);
