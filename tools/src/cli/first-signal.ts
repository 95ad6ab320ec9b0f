// Ctrl-C, SIGTERM and a closed terminal all end a command in good order.
import type { Say } from './say-type.js';

export interface Interrupt {
  /** Resolves with the name of the first signal. */
  readonly happened: Promise<string>;
  readonly signal: AbortSignal;
}

/** Later signals are ignored: npm repeats a Ctrl-C that the terminal has sent already, and the stop has its own limits. */
export function firstSignal({ say }: { say: Say }): Interrupt {
  const abort = new AbortController();
  const happened = new Promise<string>((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(name, () => {
        if (abort.signal.aborted) return;
        say(`\n${name}: stopping ...`);
        abort.abort();
        resolve(name);
      });
    }
  });
  // A closed terminal rejects every line. Stopping must go on without it.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  return { happened, signal: abort.signal };
}
