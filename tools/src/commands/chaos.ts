// Buys through every scheme while apps, network and servers are broken at random. Then it checks every answer of a client.
// Usage: npm run chaos -- [--seed N] [--minutes M] [--instances I]     exit code: 0 every answer and every invariant holds
import { join } from 'node:path';
import { exitCodeOf, reportLines } from '../audit/report-and-exit-code.js';
import { readOptions, runCommand } from '../cli/command-options-and-exit.js';
import { firstSignal, type Interrupt } from '../cli/first-signal.js';
import { OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { ROOT } from '../infra-files.js';
import { withLock } from '../process/command-lock.js';
import { gapsOf } from './chaos/history.js';
import { evidenceLines, routesTable, wordsLines } from './chaos/report.js';
import { ChaosRun } from './chaos/run.js';

const USAGE = 'npm run chaos -- [--seed N] [--minutes M] [--instances I]';
const say: Say = (line) => console.log(line);

interface Settings {
  readonly seed: number;
  readonly minutes: number;
  readonly instances: number;
}

async function main(): Promise<number> {
  const { values } = readOptions(USAGE, {
    options: {
      seed: { type: 'string' },
      minutes: { type: 'string', default: '2' },
      instances: { type: 'string', default: '3' },
    },
    allowPositionals: false,
  });
  const settings = {
    seed: values.seed === undefined ? Date.now() % 1_000_000 : wholeNumber('--seed', values.seed, 0, 2 ** 31),
    minutes: wholeNumber('--minutes', values.minutes, 1, 600),
    instances: wholeNumber('--instances', values.instances, 1, 9),
  };
  const interrupt = firstSignal({ say });
  const lock = join(ROOT, '.infra', 'chaos-run.lock');
  return withLock(lock, { say, what: 'chaos', boundMs: 60_000 }, () => play(settings, interrupt));
}

function wholeNumber(name: string, text: string, min: number, max: number): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= min && number <= max) return number;
  throw new OperatorError(`${name} is "${text}": it must be a whole number from ${min} to ${max}\nusage: ${USAGE}`);
}

async function play({ seed, minutes, instances }: Settings, interrupt: Interrupt): Promise<number> {
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

async function breakAndJudge(run: ChaosRun, seed: number): Promise<number> {
  await run.start();
  const steps = await run.breakThings();
  say(`\n${steps} accidents are over; now everything is whole again`);
  const result = await run.judge();
  say(`\n${routesTable(result.routes)}\n`);
  say(wordsLines(result).join('\n'));
  say(reportLines(result.report).join('\n'));
  say(evidenceLines(result.evidence).join('\n'));
  const isEnough = gapsOf(result.evidence).length === 0;
  const holds = result.findings.length === 0 && isEnough && exitCodeOf([result.report]) === 0;
  say(
    holds
      ? `seed ${seed}: all holds`
      : `seed ${seed}: BROKEN; npm run chaos -- --seed ${seed} breaks the same things again`,
  );
  return holds ? 0 : 1;
}

await runCommand(main);
