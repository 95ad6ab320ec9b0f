// Buys through every scheme while apps, network and servers are broken at random; then checks that every word holds.
// Usage: npm run chaos -- [--seed N] [--minutes M] [--instances I]     exit code: 0 every word and every invariant holds
import { join } from 'node:path';
import { exitCodeOf, reportLines } from './audit/report.mjs';
import { OperatorError, readOptions, runCommand } from './command/entry.mjs';
import { firstSignal } from './command/signals.mjs';
import { withLock } from './infra/lock.mjs';
import { ROOT } from './infra/place.mjs';
import { prepare } from './prepare.mjs';

const USAGE = 'npm run chaos -- [--seed N] [--minutes M] [--instances I]';
const say = (line) => console.log(line);

async function main() {
  const { values } = readOptions(USAGE, {
    options: {
      seed: { type: 'string' },
      minutes: { type: 'string', default: '2' },
      instances: { type: 'string', default: '3' },
    },
    allowPositionals: false,
  });
  const seed = values.seed === undefined ? Date.now() % 1_000_000 : wholeNumber('--seed', values.seed, [0, 2 ** 31]);
  const minutes = wholeNumber('--minutes', values.minutes, [1, 600]);
  const instances = wholeNumber('--instances', values.instances, [1, 9]);
  const interrupt = firstSignal({ say });
  await prepare({ say, signal: interrupt.signal });
  const lock = join(ROOT, '.infra', 'chaos-run.lock');
  return withLock(lock, { say, what: 'chaos', boundMs: 60_000 }, () => play({ seed, minutes, instances, interrupt }));
}

function wholeNumber(name, text, [min, max]) {
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= min && number <= max) return number;
  throw new OperatorError(`${name} is "${text}": it must be a whole number from ${min} to ${max}\nusage: ${USAGE}`);
}

async function play({ seed, minutes, instances, interrupt }) {
  const { ChaosRun } = await import('./chaos/run.mjs'); // needs what `prepare` has installed
  const run = new ChaosRun({ say, signal: interrupt.signal, seed, minutes, instances, callers: 10 });
  say(`seed ${seed}, ${minutes} min, ${instances} instances of each app`);
  try {
    return await Promise.race([breakAndJudge(run, seed), interrupt.happened.then(() => 130)]);
  } catch (error) {
    if (interrupt.signal.aborted) return 130;
    throw error;
  } finally {
    await run.stop();
  }
}

async function breakAndJudge(run, seed) {
  const { routesTable, wordsLines } = await import('./chaos/report.mjs');
  await run.start();
  const steps = await run.breakThings();
  say(`\n${steps} accidents are over; now everything is whole again`);
  const result = await run.judge();
  say(`\n${routesTable(result.routes)}\n`);
  say(wordsLines(result).join('\n'));
  say(reportLines(result.report).join('\n'));
  const holds = result.broken.length === 0 && exitCodeOf([result.report]) === 0;
  say(
    holds
      ? `seed ${seed}: all holds`
      : `seed ${seed}: BROKEN; npm run chaos -- --seed ${seed} breaks the same things again`,
  );
  return holds ? 0 : 1;
}

await runCommand(main);
