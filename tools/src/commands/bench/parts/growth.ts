// Whether ten times the purchases take ten times as long. Less than ten means that the start of a round costs something.
import { type Case, isNaive, nameOf, VARIANTS } from '../cases.js';
import { measure, warmUp } from '../measure.js';
import type { Finding } from '../report.js';
import type { PartOptions } from './part.js';

const TIMES = 10;
const OF = { concurrency: 32, skus: 'many', notify: false } as const;

export async function growth({ stage, progress, quick }: PartOptions): Promise<Finding[]> {
  const shop = await stage.open('shop');
  const few = quick ? 100 : 400;
  try {
    const findings: Finding[] = [];
    for (const variant of VARIANTS.filter((one) => !isNaive(one))) {
      const seconds = async (purchases: number) => {
        const of: Case = { ...OF, variant, purchases };
        progress.step(`${purchases} purchases: ${nameOf(of)}`);
        return purchases / (await measure(of, shop, stage)).settledPerSecond;
      };
      await warmUp({ ...OF, variant, purchases: few }, shop);
      const before = await seconds(few);
      const long = await seconds(TIMES * few);
      const what = `${variant}: time of ${TIMES * few} purchases against ${few}`;
      findings.push({ what, value: (2 * long) / (before + (await seconds(few))), unit: 'times' });
    }
    return findings;
  } finally {
    await shop.stop();
  }
}
