// Buys through every scheme while apps, network and servers are broken at random. Then it checks every answer of a client.
// Usage: npm run chaos -- [--seed N] [--minutes M] [--instances I] [--only 3,7,12] [--shrink]
// exit code: 0 every answer and every invariant holds
import { join } from 'node:path';
import { reportLines } from '../audit/report-and-exit-code.js';
import { readOptions, runCommand } from '../cli/command-options-and-exit.js';
import { firstSignal, type Interrupt } from '../cli/first-signal.js';
import { Interrupted } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { ROOT } from '../infra-files.js';
import { withLock } from '../process/command-lock.js';
import { rememberSandbox } from '../sandbox/known-sandboxes.js';
import { gapsOf } from './chaos/history.js';
import { evidenceLines, routesTable, wordsLines } from './chaos/report.js';
import { ChaosRun, type Verdict } from './chaos/run.js';
import { CHAOS_OPTIONS, commandOf, type Settings, settingsOf, USAGE } from './chaos/settings.js';
import { type Play, shrinkRun } from './chaos/shrink-run.js';

const say: Say = (line) => console.log(line);

async function main(): Promise<number> {
  const { values } = readOptions(USAGE, { options: CHAOS_OPTIONS, allowPositionals: false });
  const settings = settingsOf(values);
  const interrupt = firstSignal({ say });
  const lock = join(ROOT, '.infra', 'chaos-run.lock');
  return withLock(lock, { say, what: 'chaos', boundMs: 60_000 }, () => {
    if (!settings.shrink) return playOnce(settings, interrupt);
    const play = (only: readonly number[] | undefined, sandbox: string) =>
      breakAndJudge({ ...settings, only }, sandbox, interrupt);
    return shrinkRun({ say, settings, play, show: ({ sandbox }) => rememberSandbox('chaos', sandbox) });
  });
}

async function playOnce(settings: Settings, interrupt: Interrupt): Promise<number> {
  const { broken, evidence } = await breakAndJudge(settings, 'chaos', interrupt);
  const { seed, only } = settings;
  // A part of a schedule is played to see whether it breaks. It may be too short to meet everything.
  const isEnough = only !== undefined || gapsOf(evidence).length === 0;
  const holds = broken.length === 0 && isEnough;
  say(
    holds
      ? `seed ${seed}: all holds`
      : `seed ${seed}: BROKEN; ${commandOf(settings, only)} breaks the same things again, and --shrink looks for fewer`,
  );
  return holds ? 0 : 1;
}

/** Stops everything that it has started, also after Ctrl-C. @throws Interrupted then */
async function breakAndJudge(settings: Settings, sandbox: string, interrupt: Interrupt): Promise<Play & Verdict> {
  const { signal, happened } = interrupt;
  const interrupted = happened.then((name): never => {
    throw new Interrupted(`${name}: everything that chaos has started is stopped`);
  });
  interrupted.catch(() => {}); // the race below may be over
  say(`seed ${settings.seed}, ${settings.minutes} min, ${settings.instances} instances of each app`);
  const run = new ChaosRun({ ...settings, say, signal, sandbox });
  try {
    return await Promise.race([playAll(run), interrupted]);
  } catch (error) {
    // A step that was stopped in the middle fails in its own words.
    if (signal.aborted) await interrupted;
    throw error;
  } finally {
    await run.stop();
  }
}

async function playAll(run: ChaosRun): Promise<Play & Verdict> {
  await run.start();
  const steps = await run.breakThings();
  say(`\n${steps.length} accidents are over; now everything is whole again`);
  const verdict = await run.judge();
  say(`\n${routesTable(verdict.routes)}\n`);
  say(wordsLines(verdict).join('\n'));
  say(reportLines(verdict.report).join('\n'));
  say(evidenceLines(verdict.evidence).join('\n'));
  return { ...verdict, steps: steps.map(({ n }) => n) };
}

await runCommand(main);
