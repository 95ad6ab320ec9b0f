// Measures what each guarantee costs: purchases by every scheme beside the same shop without a guarantee.
// Usage: npm run bench [-- --quick] [--count <scheme>|all]     exit code: 0 measured, 1 failed, 130 interrupted
import { join } from 'node:path';
import { readOptions, runCommand } from '../cli/command-options-and-exit.js';
import { firstSignal } from '../cli/first-signal.js';
import { Interrupted, OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { ROOT } from '../infra-files.js';
import { withLock } from '../process/command-lock.js';
import { type Progress, progressOn } from './bench/bench-progress.js';
import { playRounds } from './bench/bench-run.js';
import { FULL, QUICK, type Variant, VARIANTS } from './bench/cases.js';
import { countTable, shapeTables } from './bench/count-report.js';
import { playCounting } from './bench/counting-pass.js';
import { figuresTable } from './bench/figures-table.js';
import { Stage } from './bench/stage.js';
import { summarize } from './bench/summary.js';

const USAGE = 'npm run bench -- [--quick] [--count <scheme>|all]';
const LOCK_BOUND_MS = 600_000;
const say: Say = (line) => console.log(line);

async function main(): Promise<number> {
  const { values } = readOptions(USAGE, {
    options: { quick: { type: 'boolean' }, count: { type: 'string' } },
    allowPositionals: false,
  });
  const counted = values.count === undefined ? null : variantsNamed(values.count);
  const interrupt = firstSignal({ say });
  const lock = join(ROOT, '.infra', 'bench-run.lock');
  return withLock(lock, { say, what: 'bench', boundMs: LOCK_BOUND_MS }, async () => {
    const stage = new Stage(say);
    const progress = progressOn(process.stdout, { say, signal: interrupt.signal });
    const interrupted = interrupt.happened.then((signal): never => {
      throw new Interrupted(`${signal}: nothing was written`);
    });
    interrupted.catch(() => {}); // the race may have ended before
    const work = counted
      ? () => count(stage, counted, progress)
      : () => measureAll(stage, values.quick ? QUICK : FULL, progress);
    try {
      return await Promise.race([stage.start().then(work), interrupted]);
    } finally {
      await stage.stop();
    }
  });
}

function variantsNamed(name: string): readonly Variant[] {
  if (name === 'all') return VARIANTS;
  const known = VARIANTS.find((variant) => variant === name);
  if (!known) throw new OperatorError(`unknown scheme "${name}": --count takes all, ${VARIANTS.join(', ')}`);
  return [known];
}

async function count(stage: Stage, variants: readonly Variant[], progress: Progress): Promise<number> {
  const counted = await playCounting(stage, variants, progress);
  say(`\n${shapeTables(counted)}\n\n${countTable(counted)}`);
  return 0;
}

async function measureAll(stage: Stage, plan: typeof FULL, progress: Progress): Promise<number> {
  const samples = await playRounds(stage, plan, progress);
  const counted = await playCounting(stage, VARIANTS, progress);
  say(`\n${figuresTable(summarize(samples, counted))}`);
  return 0;
}

await runCommand(main);
