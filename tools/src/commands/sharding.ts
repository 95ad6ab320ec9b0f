// Measures what one outbox carries on this machine, and simulates many of them. See docs/sharding.md.
// Usage: npm run sharding -- [--measure] [--simulate] [options]     without a choice it does both
import { join } from 'node:path';
import { createConnection } from 'mysql2/promise';
import { readOptions, runCommand } from '../cli/command-options-and-exit.js';
import { firstSignal } from '../cli/first-signal.js';
import { OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { ROOT } from '../infra-files.js';
import { withLock } from '../process/command-lock.js';
import { dropDatabase } from '../sandbox/drop-database.js';
import { down, up } from '../servers/index.js';
import { measureRound, type Round } from './sharding/measure-layouts.js';
import { LAYOUTS } from './sharding/outbox-layouts.js';
import { bothRate, databasesFor, MEASURED_HEAD, measuredRow, simulatedLines } from './sharding/report.js';
import { simulate } from './sharding/simulation.js';

const USAGE =
  'npm run sharding -- [--measure] [--simulate] [--shards N] [--relays N] [--rate N] [--shard-rate N] [--hot 0..1] [--lease S] [--death-every S] [--seconds S] [--seed N]';
const NAME = 'sharding';
const DATABASE = 'dtx_sharding';
const ROUNDS = 3;
const PHASE_MS = 1_000;
const say: Say = (line) => console.log(line);
const text = (byDefault: string) => ({ type: 'string', default: byDefault }) as const;

async function main(): Promise<number> {
  const { values } = readOptions(USAGE, {
    options: {
      measure: { type: 'boolean', default: false },
      simulate: { type: 'boolean', default: false },
      shards: text('16'),
      relays: text('4'),
      rate: text('4000'),
      'shard-rate': text('500'),
      hot: text('0'),
      lease: text('30'),
      'death-every': text('100'),
      seconds: text('300'),
      seed: text('1'),
    },
    allowPositionals: false,
  });
  const both = !values.measure && !values.simulate;
  const read = (name: Exclude<keyof typeof values, 'measure' | 'simulate'>) => number(name, values[name]);
  const options = {
    seed: read('seed'),
    shards: read('shards'),
    relays: read('relays'),
    ratePerShard: read('shard-rate'),
    rate: read('rate'),
    hotShare: read('hot'),
    leaseSeconds: read('lease'),
    scanSeconds: 1,
    deathEverySeconds: read('death-every'),
    seconds: read('seconds'),
  };
  // Simulated first: a wrong option then ends the command before servers start.
  if (values.simulate || both) say(['simulated:', ...simulatedLines(simulate(options))].join('\n'));
  if (!values.measure && !both) return 0;
  const interrupt = firstSignal({ say });
  const lock = join(ROOT, '.infra', 'sharding-run.lock');
  return withLock(lock, { say, what: 'sharding', boundMs: 60_000 }, () => measure(interrupt.signal));
}

function number(name: string, given: string): number {
  if (/^\d+(\.\d+)?$/.test(given)) return Number(given);
  throw new OperatorError(`--${name} is "${given}": it must be a number, as 16 or 0.5\nusage: ${USAGE}`);
}

async function measure(signal: AbortSignal): Promise<number> {
  try {
    const { databases } = await up(NAME, { say, only: ['databases'] });
    if (signal.aborted) return 130;
    const url = await makeDatabase(databases.order);
    const rounds = LAYOUTS.map((): Round[] => []);
    // Interleaved, so that a busy moment of the machine meets every layout.
    for (let n = 0; n < ROUNDS; n++)
      for (const [index, layout] of LAYOUTS.entries()) {
        if (signal.aborted) return 130;
        rounds[index]!.push(await measureRound(url, layout, PHASE_MS, signal));
      }
    if (signal.aborted) return 130;
    say(`\nmeasured, ${ROUNDS} rounds of ${PHASE_MS / 1_000} s:\n${MEASURED_HEAD}`);
    for (const [index, { name }] of LAYOUTS.entries()) say(measuredRow(name, rounds[index]!));
    for (const rate of [10_000, 1_000_000])
      say(`${rate} messages/s, half of each database free: ${databasesFor(rate, bothRate(rounds[0]!))} such databases`);
    return 0;
  } finally {
    await down(NAME, { say, wipe: true });
  }
}

async function makeDatabase(server: string): Promise<string> {
  const connection = await createConnection(server);
  try {
    await dropDatabase(connection, DATABASE);
    await connection.query(`CREATE DATABASE ${DATABASE} CHARACTER SET utf8mb4`);
    const url = new URL(server);
    url.pathname = `/${DATABASE}`;
    return url.href;
  } finally {
    await connection.end();
  }
}

await runCommand(main);
