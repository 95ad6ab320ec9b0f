// Measures what each guarantee costs: purchases by every scheme beside the same shop without a guarantee.
// Usage: npm run bench [-- [relay|latency|recovery|backlog|claims|keys|delays|growth|bare ...|all] [--quick] [--rows N] [--peers | --peer <name> ...] [--write] [--count <scheme>|all]]
// Exit code: 0 measured, 1 failed, 130 interrupted
import { join } from 'node:path';
import { readOptions, runCommand } from '../cli/command-options-and-exit.js';
import { firstSignal } from '../cli/first-signal.js';
import { Interrupted, OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { ROOT } from '../infra-files.js';
import { withLock } from '../process/command-lock.js';
import { type Progress, progressOn } from './bench/bench-progress.js';
import { PEERS, type Peer, VARIANTS, type Variant } from './bench/cases.js';
import { countTable, shapeTables } from './bench/count-report.js';
import { playCounting } from './bench/counting-pass.js';
import { type Measuring, measureParts, measurePeers, measurePurchases } from './bench/measure-and-report.js';
import { PARTS, type Part } from './bench/parts/index.js';
import { peersNamed, preparePeers } from './bench/peers/peer-package.js';
import { Stage } from './bench/stage.js';
import { writeToRepository } from './bench/written-report.js';

const USAGE = `npm run bench -- [${Object.keys(PARTS).join('|')} ...|all] [--quick] [--rows N] [--peers | --peer ${PEERS.join('|')} ...] [--write] [--count <scheme>|all]`;
const LOCK_BOUND_MS = 600_000;
const ROWS_MAX = 10_000_000;
const say: Say = (line) => console.log(line);

async function main(): Promise<number> {
  const { values, positionals } = readOptions(USAGE, {
    options: {
      quick: { type: 'boolean', default: false },
      rows: { type: 'string' },
      peers: { type: 'boolean', default: false },
      peer: { type: 'string', multiple: true, default: [] },
      write: { type: 'boolean', default: false },
      count: { type: 'string' },
    },
  });
  const { quick, write } = values;
  const parts = partsNamed(positionals);
  const peers = values.peers ? PEERS : peersNamed(values.peer);
  const counted = values.count === undefined ? null : variantsNamed(values.count);
  if (counted && (positionals.length > 0 || peers.length > 0 || write || quick))
    throw new OperatorError(`--count measures nothing else: leave the other arguments out\nusage: ${USAGE}`);
  const rows = values.rows === undefined ? null : rowsIn(values.rows);
  return onStage(peers, async (stage, progress) => {
    if (counted) return count(stage, counted, progress);
    const measuring: Measuring = { stage, progress, quick, rows, isWritten: write };
    const withPurchases = positionals.length === 0 || positionals.some((name) => name === 'all');
    const purchases = withPurchases ? await measurePurchases(measuring) : null;
    let last = purchases?.report;
    if (peers.length > 0) last = await measurePeers(peers, measuring, purchases?.counted);
    last = (await measureParts(parts, measuring)) ?? last!;
    if (write) say(`written: ${writeToRepository(last).join(', ')}`);
    return 0;
  });
}

/** Runs `work` with servers, which are down again afterwards, also after Ctrl-C. */
async function onStage(
  peers: readonly Peer[],
  work: (stage: Stage, progress: Progress) => Promise<number>,
): Promise<number> {
  const { happened, signal } = firstSignal({ say });
  const lock = join(ROOT, '.infra', 'bench-run.lock');
  return withLock(lock, { say, what: 'bench', boundMs: LOCK_BOUND_MS }, async () => {
    if (peers.length > 0) await preparePeers(peers, { say, signal });
    const stage = new Stage(say);
    const interrupted = happened.then((name): never => {
      throw new Interrupted(`${name}: stopped; finished parts are in the report`);
    });
    interrupted.catch(() => {}); // the race may have ended before
    const played = stage.start().then(() => work(stage, progressOn(process.stdout, { say, signal })));
    played.catch(() => {}); // after an interruption its servers are gone
    try {
      return await Promise.race([played, interrupted]);
    } finally {
      await stage.stop();
    }
  });
}

function partsNamed(names: readonly string[]): readonly Part[] {
  const known = Object.keys(PARTS) as Part[];
  const unknown = names.find((name) => name !== 'all' && !known.some((part) => part === name));
  if (unknown !== undefined)
    throw new OperatorError(`unknown part "${unknown}": all, ${known.join(', ')}\nusage: ${USAGE}`);
  return names.includes('all') ? known : known.filter((part) => names.includes(part));
}

function variantsNamed(name: string): readonly Variant[] {
  if (name === 'all') return VARIANTS;
  const known = VARIANTS.find((variant) => variant === name);
  if (!known) throw new OperatorError(`unknown scheme "${name}": --count takes all, ${VARIANTS.join(', ')}`);
  return [known];
}

function rowsIn(text: string): number {
  const rows = Number(text);
  if (/^\d+$/.test(text) && rows >= 10_000 && rows <= ROWS_MAX) return rows;
  throw new OperatorError(`--rows is "${text}": it must be a whole number from 10000 to ${ROWS_MAX}\nusage: ${USAGE}`);
}

async function count(stage: Stage, variants: readonly Variant[], progress: Progress): Promise<number> {
  const counted = await playCounting(stage, variants, progress);
  say(`\n${shapeTables(counted)}\n\n${countTable(counted)}`);
  return 0;
}

await runCommand(main);
