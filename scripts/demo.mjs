// The whole system on this machine: servers, apps, purchases, a crash and its recovery, the audit; then it serves.
// Usage: npm run demo [-- --once]     --once: stop afterwards, exit 0 only if every invariant holds
import { OperatorError, readOptions, runCommand } from './command/entry.mjs';
import { firstSignal } from './command/signals.mjs';
import { Demo } from './demo/demo.mjs';
import { endSession, takeOver } from './demo/session.mjs';

const say = (line) => console.log(line);

async function main() {
  const { values } = readOptions('npm run demo [-- --once]', {
    options: { once: { type: 'boolean' } },
    allowPositionals: false,
  });
  await takeOver({ say });
  const interrupt = firstSignal({ say });
  const demo = new Demo({ say, signal: interrupt.signal });
  let code = 1;
  try {
    code = await Promise.race([run(demo, values), interrupt.happened.then(() => (demo.isServing ? 0 : 130))]);
  } catch (error) {
    if (!interrupt.signal.aborted) console.error(error instanceof OperatorError ? error.message : error);
  } finally {
    await demo.stop();
    endSession();
  }
  return code;
}

async function run(demo, { once }) {
  await demo.start();
  const holds = await demo.showWhatItDoes();
  if (once) return holds ? 0 : 1;
  demo.serve();
  return new Promise(() => {}); // until a signal
}

await runCommand(main);
