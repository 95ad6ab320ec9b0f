// Makes a part of the running demo fail until it is mended, so that what gives up can be seen, and brought to its end.
// Usage: npm run sabotage -- money|stock|merchant|branch on|off
import { withWorlds } from './audit/worlds.mjs';
import { OperatorError, readOptions, runCommand } from './command/entry.mjs';
import { runningDemo } from './demo/session.mjs';
import { prepare } from './prepare.mjs';

const USAGE = 'npm run sabotage -- money|stock|merchant|branch on|off';
const PARTS = ['money', 'stock', 'merchant', 'branch'];

async function main() {
  const { positionals } = readOptions(USAGE, { options: {} });
  const [name, state] = positionals;
  if (!PARTS.includes(name) || !['on', 'off'].includes(state) || positionals.length > 2)
    throw new OperatorError(`usage: ${USAGE}`);
  await prepare({ builds: false });
  const told = await withWorlds('demo', { say: console.error }, ([world]) => world && apply(world, name, state));
  if (!told) throw new OperatorError('there is no demo yet: "npm run demo" makes one');
  console.log(told);
  return 0;
}

/** Loaded late: a driver is installed by then. */
async function apply(world, name, state) {
  if (name !== 'branch') return (await import('./sabotage/triggers.mjs')).setTrigger(world, name, state);
  const { doAgainByHand, rollBackByHand } = await import('./sabotage/branch.mjs');
  if (state === 'off') return doAgainByHand(world);
  const urls = runningDemo()?.urls;
  if (!urls) throw new OperatorError('no demo is running: start one with "npm run demo" in another terminal');
  return rollBackByHand(world, urls);
}

await runCommand(main);
