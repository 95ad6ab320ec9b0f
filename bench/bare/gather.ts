import { exit } from './broker.js';

/** Calls `run` once for everything that comes within `ms` milliseconds. */
export function gather<One>(ms: number, run: (all: One[]) => Promise<unknown>): (one: One) => Promise<void> {
  let waiting: Array<{ one: One; resolve: () => void }> = [];
  const go = () => {
    const now = waiting;
    waiting = [];
    run(now.map(({ one }) => one)).then(() => now.forEach(({ resolve }) => void resolve()), exit);
  };
  return (one) => new Promise((resolve) => waiting.push({ one, resolve }) === 1 && setTimeout(go, ms));
}
