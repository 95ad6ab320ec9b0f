// Makes a part of the running demo fail until it is mended, to show exhausted attempts and how an operator ends them.
// Usage: npm run sabotage -- money|stock|merchant|branch on|off

import { readOptions, runCommand } from '../cli/command-options-and-exit.js';
import { firstSignal } from '../cli/first-signal.js';
import { OperatorError } from '../cli/operator-error.js';
import type { Sandbox } from '../sandbox/sandbox.js';
import { withSandboxes } from '../sandbox/servers-for-sandboxes.js';
import { runningDemo } from './demo/running-demo-file.js';
import { isTriggerName, setTrigger, type TriggerName } from './sabotage/failing-triggers.js';
import { doAgainByHand, rollBackByHand } from './sabotage/heuristic-rollback-and-repair.js';

const USAGE = 'npm run sabotage -- money|stock|merchant|branch on|off';

async function main(): Promise<number> {
  const { positionals } = readOptions(USAGE, { options: {} });
  const [name = '', state, ...rest] = positionals;
  const isKnown = name === 'branch' || isTriggerName(name);
  if (!isKnown || (state !== 'on' && state !== 'off') || rest.length > 0)
    throw new OperatorError(`expected a part and on or off, and got "${positionals.join(' ')}"\nusage: ${USAGE}`);
  const done = await withSandboxes('demo', { say: console.error }, async ([sandbox]) =>
    sandbox ? apply(sandbox, name, state) : null,
  );
  if (!done) throw new OperatorError('the demo has not run yet; run "npm run demo" first');
  console.log(done);
  return 0;
}

async function apply(sandbox: Sandbox, name: TriggerName | 'branch', state: 'on' | 'off'): Promise<string> {
  if (name !== 'branch') return setTrigger(sandbox, name, state);
  // Each step ends by itself and takes back its slow trigger, so Ctrl-C is answered and not obeyed.
  firstSignal({ say: () => console.error('\nthis takes back its changes first; it ends by itself') });
  if (state === 'off') return doAgainByHand(sandbox);
  const urls = runningDemo()?.urls;
  if (!urls) throw new OperatorError('no demo is running: start one with "npm run demo" in another terminal');
  return rollBackByHand(sandbox, urls);
}

await runCommand(main);
