// The whole system on this machine: servers, apps, purchases, a crash and its recovery, the audit. Then it serves.
// Usage: npm run demo [-- --once]     --once: stop afterwards, exit 0 only if every invariant holds

import { readOptions, runCommand } from '../cli/command-options-and-exit.js';
import { firstSignal } from '../cli/first-signal.js';
import { OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { Demo } from './demo/demo.js';
import { endSession, takeOver } from './demo/running-demo-file.js';

const say: Say = (line) => console.log(line);

async function main(): Promise<number> {
  const { values } = readOptions('npm run demo [-- --once]', {
    options: { once: { type: 'boolean' } },
    allowPositionals: false,
  });
  await takeOver({ say });
  const interrupt = firstSignal({ say });
  const demo = new Demo({ say, signal: interrupt.signal });
  try {
    return await Promise.race([
      run(demo, values.once ?? false),
      interrupt.happened.then(() => (demo.isServing ? 0 : 130)),
    ]);
  } catch (error) {
    if (!interrupt.signal.aborted) console.error(error instanceof OperatorError ? error.message : error);
    return 1;
  } finally {
    await demo.stop();
    endSession();
  }
}

async function run(demo: Demo, once: boolean): Promise<number> {
  await demo.start();
  const holds = await demo.showWhatItDoes();
  if (once) return holds ? 0 : 1;
  demo.serve();
  return new Promise(() => {}); // until a signal
}

await runCommand(main);
