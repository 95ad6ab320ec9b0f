// The rounds: every case once in each, in turn, so that a slow minute of the machine hits all of them.
import type { Say } from '../../cli/say-type.js';
import { type Case, nameOf, type Plan, TABLE_CONCURRENCY, VARIANTS } from './cases.js';
import { measure, purchasesOf, type Sample, untilSettled } from './measure.js';
import { ServerCounters } from './server-counters.js';
import type { Shop, Stage } from './stage.js';

const WARM_UP = 300;

export interface Progress {
  readonly say: Say;
  readonly signal: AbortSignal;
}

export type Shops = Record<'naive' | 'shop', Shop>;
export const shopOf = (shops: Shops, { variant }: Case) => (variant === 'naive' ? shops.naive : shops.shop);

export async function playRounds(stage: Stage, plan: Plan, progress: Progress): Promise<Sample[]> {
  const shops = { naive: await stage.open('naive'), shop: await stage.open('shop') };
  const counters = await ServerCounters.open(shops.shop.sandbox);
  try {
    for (const variant of VARIANTS) await warmUp(variant, shops, progress);
    return await rounds({ stage, shops, counters }, plan, progress);
  } finally {
    await counters.close();
    await shops.naive.stop();
    await shops.shop.stop();
  }
}

export async function warmUp(variant: Case['variant'], shops: Shops, { say, signal }: Progress): Promise<void> {
  signal.throwIfAborted();
  say(`warming up: ${variant}`);
  const notify = variant !== 'naive';
  const of: Case = { variant, concurrency: TABLE_CONCURRENCY, skus: 'many', notify, purchases: WARM_UP };
  await untilSettled(of, await purchasesOf(of, shopOf(shops, of)), shopOf(shops, of));
}

async function rounds(
  { stage, shops, counters }: { stage: Stage; shops: Shops; counters: ServerCounters },
  { rounds: count, cases }: Plan,
  { say, signal }: Progress,
): Promise<Sample[]> {
  const samples: Sample[] = [];
  const total = count * cases.length;
  for (let round = 1; round <= count; round++) {
    for (const of of cases) {
      signal.throwIfAborted();
      const sample = await measure(of, { stage, counters, shop: shopOf(shops, of) });
      samples.push(sample);
      say(`${bar(samples.length, total)} ${nameOf(of)}: ${sample.settledPerSecond.toFixed(0)}/s`);
    }
  }
  return samples;
}

function bar(done: number, total: number): string {
  const width = 24;
  const full = Math.round((done / total) * width);
  return `[${'#'.repeat(full)}${'.'.repeat(width - full)}] ${String(done).padStart(String(total).length)}/${total}`;
}
