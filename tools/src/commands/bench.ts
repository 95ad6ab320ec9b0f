// Measures what each guarantee costs: purchases by every scheme beside the same shop without a guarantee.
// Usage: npm run bench [-- --quick] [--count <scheme>]     exit code: 0 measured, 1 not, 130 interrupted
import { join } from 'node:path';
import { readOptions, runCommand } from '../cli/command-options-and-exit.js';
import { firstSignal } from '../cli/first-signal.js';
import { Interrupted, OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { ROOT } from '../infra-files.js';
import { withLock } from '../process/command-lock.js';
import { type Variant, VARIANTS } from './bench/cases.js';
import { playCounting } from './bench/counting-pass.js';
import { countTable, shapeTables } from './bench/count-report.js';
import { Stage } from './bench/stage.js';
import type { Progress } from './bench/bench-run.js';

const USAGE = 'npm run bench -- [--count <scheme>|all]';
const LOCK_BOUND_MS = 600_000;
const say: Say = (line) => console.log(line);

async function main(): Promise<number> {
  const { values } = readOptions(USAGE, {
    options: { quick: { type: 'boolean' }, count: { type: 'string' } },
    allowPositionals: false,
  });
  const variants = values.count === undefined ? null : variantsNamed(values.count);
  const interrupt = firstSignal({ say });
  const lock = join(ROOT, '.infra', 'bench-run.lock');
  return withLock(lock, { say, what: 'bench', boundMs: LOCK_BOUND_MS }, async () => {
    const stage = new Stage(say);
    const interrupted = interrupt.happened.then((signal): never => {
      throw new Interrupted(`${signal}: nothing was written`);
    });
    interrupted.catch(() => {}); // the race may have ended before
    try {
      return await Promise.race([measureAll(stage, variants ?? VARIANTS, { say, signal: interrupt.signal }), interrupted]);
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

async function measureAll(stage: Stage, variants: readonly Variant[], progress: Progress): Promise<number> {
  await stage.start();
  const counted = await playCounting(stage, variants, progress);
  say(`\n${shapeTables(counted)}\n\n${countTable(counted)}`);
  return 0;
}

await runCommand(main);
