// The rounds: every case once in each, in turn, so that a slow minute of the machine hits all of them.
import type { Progress } from './bench-progress.js';
import { type Case, type Kind, kindOf, nameOf, type Plan, TABLE_CONCURRENCY, type Variant } from './cases.js';
import { measure, purchasesOf, type Sample, untilAtRest, untilSettled } from './measure.js';
import type { Shop, Stage } from './stage.js';

type Shops = ReadonlyMap<Kind, Shop>;
const shopOf = (shops: Shops, { variant }: Case) => shops.get(kindOf(variant))!;

export async function playRounds(stage: Stage, plan: Plan, progress: Progress): Promise<Sample[]> {
  const variants = [...new Set(plan.cases.map(({ variant }) => variant))];
  const shops = new Map<Kind, Shop>();
  try {
    for (const kind of new Set(variants.map(kindOf))) {
      progress.step(`starting: ${kind}`);
      shops.set(kind, await stage.open(kind));
    }
    for (const variant of variants) {
      progress.step(`warming up: ${variant}`);
      await warmUp(variant, plan, shops);
    }
    return await rounds(stage, shops, plan, progress);
  } finally {
    for (const shop of shops.values()) await shop.stop();
  }
}

async function warmUp(variant: Variant, { warmUp: purchases, cases }: Plan, shops: Shops): Promise<void> {
  const notify = cases.some((one) => one.variant === variant && one.notify);
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
