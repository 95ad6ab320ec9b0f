// The rounds: every case once in each, in turn, so that a slow minute of the machine hits all of them.
import type { Progress } from './bench-progress.js';
import { type Case, nameOf, type Plan, TABLE_CONCURRENCY, VARIANTS, type Variant } from './cases.js';
import { measure, purchasesOf, type Sample, untilAtRest, untilSettled } from './measure.js';
import type { Shop, Stage } from './stage.js';

type Shops = Record<'naive' | 'shop', Shop>;
const shopOf = (shops: Shops, { variant }: Case) => (variant === 'naive' ? shops.naive : shops.shop);

export async function playRounds(stage: Stage, plan: Plan, progress: Progress): Promise<Sample[]> {
  const shops = { naive: await stage.open('naive'), shop: await stage.open('shop') };
  try {
    for (const variant of VARIANTS) {
      progress.step(`warming up: ${variant}`);
      await warmUp(variant, plan.warmUp, shops);
    }
    return await rounds(stage, shops, plan, progress);
  } finally {
    await shops.naive.stop();
    await shops.shop.stop();
  }
}

async function warmUp(variant: Variant, purchases: number, shops: Shops): Promise<void> {
  const notify = variant !== 'naive';
  const of: Case = { variant, concurrency: TABLE_CONCURRENCY, skus: 'many', notify, purchases };
  const shop = shopOf(shops, of);
  await untilSettled(of, await purchasesOf(of, shop), shop);
  await untilAtRest(of, shop);
}

async function rounds(
  stage: Stage,
  shops: Shops,
  { rounds: count, cases }: Plan,
  progress: Progress,
): Promise<Sample[]> {
  const samples: Sample[] = [];
  const total = count * cases.length;
  for (let round = 1; round <= count; round++) {
    for (const of of cases) {
      progress.bar(samples.length, total, nameOf(of));
      samples.push(await measure(of, shopOf(shops, of), stage));
    }
  }
  progress.bar(total, total, 'done');
  return samples;
}
