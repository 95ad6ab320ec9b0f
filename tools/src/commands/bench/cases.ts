// The cases of a bench. Every scheme makes the same purchases. `naive` is the shop without a guarantee in `bench/naive`.
import type { App } from '../../servers/server-set.js';
import { SCHEMES } from '../../shop/purchase.js';

export const VARIANTS = ['naive', 'local-message', 'half-message', 'tcc', 'xa'] as const;
export type Variant = (typeof VARIANTS)[number];

export interface Case {
  readonly variant: Variant;
  /** Purchases under way at once. */
  readonly concurrency: number;
  /** `many`: a thousand skus and buyers. `hot`: one sku, a thousand buyers. */
  readonly skus: 'many' | 'hot';
  /** Whether the payment is followed by a notification of the merchant. The naive shop has none. */
  readonly notify: boolean;
  readonly purchases: number;
  /** Without quorum queues, as a broker of one node may have them. */
  readonly isClassic?: boolean;
}

/** How many purchases are made in how many rounds. Rounds are interleaved, so a slow minute hits every variant. */
export interface Plan {
  readonly rounds: number;
  /** Purchases of each variant before the first round. */
  readonly warmUp: number;
  readonly cases: readonly Case[];
}

export const CONCURRENCIES = [1, 8, 32, 128];
/** The concurrency of the table in the README. */
export const TABLE_CONCURRENCY = 32;

export const QUICK: Plan = { rounds: 2, warmUp: 200, cases: [...casesFor(TABLE_CONCURRENCY, 'many', 400)] };

export const FULL: Plan = {
  rounds: 3,
  warmUp: 500,
  cases: [
    ...casesFor(TABLE_CONCURRENCY, 'many', 1_000),
    ...CONCURRENCIES.filter((one) => one !== TABLE_CONCURRENCY).flatMap((concurrency) =>
      casesFor(concurrency, 'many', concurrency === 1 ? 100 : 600, [false]),
    ),
    ...casesFor(TABLE_CONCURRENCY, 'hot', 400, [false]),
    ...classicCases(1_000),
  ],
};

/** The naive shop has no choice of queues, since its messages need not survive. */
function classicCases(purchases: number): Case[] {
  return casesFor(TABLE_CONCURRENCY, 'many', purchases, [false])
    .filter(({ variant }) => variant !== 'naive')
    .map((one) => ({ ...one, isClassic: true }));
}

function casesFor(
  concurrency: number,
  skus: Case['skus'],
  purchases: number,
  notifying: readonly boolean[] = [false, true],
): Case[] {
  return notifying.flatMap((notify) =>
    VARIANTS.filter((variant) => !(notify && variant === 'naive')).map((variant) => ({
      variant,
      concurrency,
      skus,
      notify,
      purchases,
    })),
  );
}

export function nameOf({ variant, concurrency, skus, notify, isClassic }: Case): string {
  const goods = skus === 'hot' ? 'one hot sku' : 'many skus';
  return `${variant}, ${concurrency} at once, ${goods}${notify ? ', notifying' : ''}${isClassic ? ', classic queues' : ''}`;
}

/** Where the purchases of a variant begin. */
export const routeOf = (variant: Variant): { app: App; path: string } =>
  variant === 'naive' ? { app: 'order', path: '/orders' } : SCHEMES[variant];
