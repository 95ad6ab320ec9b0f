// The rounds: every case once in each, in turn, so that a slow minute of the machine hits all of them.
import type { Progress } from './bench-progress.js';
import { type Case, type Kind, kindOf, nameOf, type Plan, TABLE_CONCURRENCY } from './cases.js';
import { measure, purchasesOf, type Sample, untilAtRest, untilSettled } from './measure.js';
import type { Shop, Stage } from './stage.js';

type Shops = ReadonlyMap<Kind, Shop>;
const shopOf = (shops: Shops, of: Case): Shop => shops.get(kindOf(of))!;

export async function playRounds(stage: Stage, plan: Plan, progress: Progress): Promise<Sample[]> {
  const shops = new Map<Kind, Shop>();
  try {
    for (const kind of new Set(plan.cases.map(kindOf))) {
      progress.step(`starting: ${kind}`);
      shops.set(kind, await stage.open(kind));
    }
    for (const of of warmUps(plan)) {
      progress.step(`warming up: ${nameOf(of)}`);
      const shop = shopOf(shops, of);
      await untilSettled(of, await purchasesOf(of, shop), shop);
      await untilAtRest(of, shop);
    }
    return await rounds(stage, shops, plan, progress);
  } finally {
    for (const shop of shops.values()) await shop.stop();
  }
}

/** One case for each variant on each shop. */
function warmUps({ cases, warmUp: purchases }: Plan): Case[] {
  const one = ({ variant, isClassic = false }: Case): Case => {
    const notify = cases.some((other) => other.variant === variant && other.notify);
    return { variant, isClassic, concurrency: TABLE_CONCURRENCY, skus: 'many', notify, purchases };
  };
  return [...new Map(cases.map((of) => [`${of.variant} ${kindOf(of)}`, one(of)])).values()];
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
