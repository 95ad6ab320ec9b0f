// The cases of a bench. Every scheme makes the same purchases. `naive` is the shop without a guarantee in `bench/naive`, which every
// other one is compared with, and `naive-no-delay` the same without Nagle's algorithm. The peers are other libraries in `bench/peers`.
import type { App } from '../../servers/server-set.js';
import { SCHEMES } from '../../shop/purchase.js';

export const VARIANTS = ['naive', 'naive-no-delay', 'local-message', 'half-message', 'tcc', 'saga', 'xa'] as const;
export const PEERS = ['nestjs-outbox', 'restate-saga'] as const;
export type Peer = (typeof PEERS)[number];
export type Variant = (typeof VARIANTS)[number] | Peer;

/**
 * The processes of a case: all schemes of the library share one shop, `classic` is the shop with classic queues. `bare` is the
 * floor of the part of this name, called like the naive shop for messages, and like the library for TCC and saga.
 */
export type Kind = Naive | 'bare' | 'shop' | 'classic' | Peer;

type Naive = 'naive' | 'naive-no-delay';
export const isNaive = (name: string): name is Naive => name === 'naive' || name === 'naive-no-delay';
export const isPeer = (name: string): name is Peer => PEERS.some((peer) => peer === name);

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

export function kindOf({ variant, isClassic }: Pick<Case, 'variant' | 'isClassic'>): Kind {
  if (isNaive(variant) || isPeer(variant)) return variant;
  return isClassic ? 'classic' : 'shop';
}

/** Whether the apps of the shop run, with the library and its tables, and not a naive shop or a peer. */
export const isOurs = (kind: Kind): kind is 'shop' | 'classic' => kind === 'shop' || kind === 'classic';

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

export const QUICK: Plan = { rounds: 2, warmUp: 800, cases: [...casesFor(TABLE_CONCURRENCY, 'many', 400)] };

/** A round of the table is long against the time in which its last orders become final, which counts as well. */
const IN_TABLE = 2_000;

export const FULL: Plan = {
  rounds: 3,
  warmUp: 4_000,
  cases: [
    ...casesFor(TABLE_CONCURRENCY, 'many', IN_TABLE),
    ...CONCURRENCIES.filter((one) => one !== TABLE_CONCURRENCY).flatMap((concurrency) =>
      casesFor(concurrency, 'many', concurrency === 1 ? 100 : 600, [false]),
    ),
    ...casesFor(TABLE_CONCURRENCY, 'hot', 400, [false]),
    ...classicCases(IN_TABLE),
  ],
};

/** The naive shop has no choice of queues, since its messages need not survive. */
function classicCases(purchases: number): Case[] {
  return casesFor(TABLE_CONCURRENCY, 'many', purchases, [false])
    .filter(({ variant }) => !isNaive(variant))
    .map((one) => ({ ...one, isClassic: true }));
}

export const PEERS_QUICK = { rounds: 2, warmUp: 200, purchases: 400 };
export const PEERS_FULL = { rounds: 3, warmUp: 500, purchases: 1_000 };

/** What a peer is compared with, by what both promise: a message after a local commit, and steps that are undone. */
export const BESIDE = { 'nestjs-outbox': 'local-message', 'restate-saga': 'tcc' } as const satisfies Record<
  Peer,
  Variant
>;

/** Each peer beside its scheme and the naive shop, in rounds of their own: the peers' idle processes slow no other figures. */
export function peersPlan(peers: readonly Peer[], sizes: Omit<Plan, 'cases'> & { readonly purchases: number }): Plan {
  const { rounds, warmUp, purchases } = sizes;
  const variants: readonly Variant[] = ['naive', ...peers.flatMap((peer) => [BESIDE[peer], peer])];
  const of = { concurrency: TABLE_CONCURRENCY, skus: 'many', notify: false, purchases } as const;
  return { rounds, warmUp, cases: variants.map((variant) => ({ variant, ...of })) };
}

function casesFor(
  concurrency: number,
  skus: Case['skus'],
  purchases: number,
  notifying: readonly boolean[] = [false, true],
): Case[] {
  return notifying.flatMap((notify) =>
    VARIANTS.filter((variant) => !(notify && isNaive(variant))).map((variant) => ({
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

const ROUTES: Record<Variant, { readonly app: App; readonly path: string }> = {
  naive: { app: 'order', path: '/orders' },
  'naive-no-delay': { app: 'order', path: '/orders' },
  ...SCHEMES,
  'nestjs-outbox': { app: 'order', path: '/orders' },
  'restate-saga': { app: 'order', path: '/order/buy' },
};

/** Where the purchases of a variant begin. */
export const routeOf = (variant: Variant): { app: App; path: string } => ROUTES[variant];
