// Ctrl-C, a polite kill and a closed terminal all mean: stop in good order.

/**
 * @returns {{ happened: Promise<string>, signal: AbortSignal }} `happened` resolves with the first signal's name. Later
 *   ones are ignored: npm passes on a Ctrl-C that the terminal has sent already, and the stop has bounds of its own.
 */
export function firstSignal({ say }) {
  const abort = new AbortController();
  const happened = new Promise((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
      process.on(name, () => {
        if (abort.signal.aborted) return;
        say(`\n${name}: stopping ...`);
        abort.abort();
        resolve(name);
      });
    }
  });
  // A terminal that is gone refuses every line; stopping must go on without it.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  return { happened, signal: abort.signal };
}
