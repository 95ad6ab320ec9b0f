import { setTimeout as sleep } from 'node:timers/promises';

/** Waits for a condition with a bound. The error has the condition and the last value that was seen. */
export async function until<T>(
  what: string,
  look: () => Promise<T | false | null | undefined> | T | false | null | undefined,
  { withinMs = 40_000, everyMs = 25 }: { withinMs?: number; everyMs?: number } = {},
): Promise<T> {
  const end = performance.now() + withinMs;
  let last: unknown;
  for (;;) {
    try {
      last = await look();
    } catch (error) {
      last = error;
    }
    if (last && !(last instanceof Error)) return last as T;
    if (performance.now() > end) throw new Error(`${what}: not within ${withinMs} ms; last seen: ${String(last)}`);
    await sleep(everyMs);
  }
}
