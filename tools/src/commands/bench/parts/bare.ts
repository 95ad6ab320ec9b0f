// A purchase by messages, one by TCC and one by saga with the library, and by hand without any framework. By hand is the floor.
import { type Case, type Kind, TABLE_CONCURRENCY } from '../cases.js';
import { measure, type Sample, warmUp } from '../measure.js';
import type { Finding } from '../report.js';
import type { Shop } from '../stage.js';
import { median, percentiles } from '../summary.js';
import type { PartOptions } from './part.js';

const OF = { concurrency: TABLE_CONCURRENCY, skus: 'many', notify: false } as const;
const PLAYED = [
  { kind: 'naive', variant: 'naive', name: 'naive' },
  // By hand, messages have the route of the naive shop. TCC and saga have those of the library.
  { kind: 'bare', variant: 'naive', name: 'messages by hand' },
  { kind: 'bare', variant: 'tcc', name: 'TCC by hand' },
  { kind: 'bare', variant: 'saga', name: 'saga by hand' },
  { kind: 'shop', variant: 'local-message', name: 'local-message' },
  { kind: 'shop', variant: 'tcc', name: 'tcc' },
  { kind: 'shop', variant: 'saga', name: 'saga' },
] as const;

export async function bare({ stage, progress, quick }: PartOptions): Promise<Finding[]> {
  const [rounds, warm, purchases] = quick ? [2, 400, 400] : [3, 2_000, 1_000];
  const samples = PLAYED.map((): Sample[] => []);
  const shops = new Map<Kind, Shop>();
  try {
    for (const { kind, variant, name } of PLAYED) {
      progress.step(`warming up: ${name}`);
      if (!shops.has(kind)) shops.set(kind, await stage.open(kind));
      await warmUp({ ...OF, variant, purchases: warm }, shops.get(kind)!);
    }
    for (let round = 1; round <= rounds; round++)
      for (const [n, { kind, variant, name }] of PLAYED.entries()) {
        progress.step(`${name}, round ${round}`);
        const of: Case = { ...OF, variant, purchases };
        samples[n]!.push(await measure(of, shops.get(kind)!, stage));
      }
  } finally {
    for (const shop of shops.values()) await shop.stop();
  }
  return PLAYED.flatMap(({ name }, n) => findingsOf(name, { of: samples[n]!, naive: samples[0]! }));
}

/** Ratios are medians of the ratios of each round, because a slow minute hits the whole round. */
function findingsOf(name: string, { of, naive }: { of: readonly Sample[]; naive: readonly Sample[] }): Finding[] {
  const settled = of.flatMap(({ settledMs }) => settledMs);
  const perSecond = { what: `${name}: settled`, value: median(of.map((one) => one.settledPerSecond)), unit: '/s' };
  const p50 = { what: `${name}: settled, p50`, value: percentiles(settled).p50, unit: 'ms' };
  if (of === naive) return [perSecond, p50];
  const ratio = (value: (one: Sample) => number) => median(of.map((one, n) => value(one) / value(naive[n]!)));
  const cpu = ({ cpuMs: { apps, databases, broker } }: Sample) => (apps ?? 0) + (databases ?? 0) + (broker ?? 0);
  return [
    perSecond,
    p50,
    { what: `${name}: settled against naive`, value: ratio((one) => one.settledPerSecond), unit: 'x' },
    ...(naive.every((one) => cpu(one) > 0)
      ? [{ what: `${name}: CPU against naive`, value: ratio(cpu), unit: 'x' }]
      : []),
  ];
}
