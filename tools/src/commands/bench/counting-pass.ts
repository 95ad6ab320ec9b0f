// Counts round trips and messages per purchase, apart from the rounds: the proxies that count would slow those.
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../../cli/waits-and-progress.js';
import { type App, DATABASES } from '../../servers/server-set.js';
import type { Progress } from './bench-progress.js';
import { type Case, isNaive, isPeer, kindOf, nameOf, TABLE_CONCURRENCY, type Variant } from './cases.js';
import { purchasesOf, untilAtRest, untilSettled } from './measure.js';
import type { Counts } from './shop-databases.js';
import type { Shop, Stage, Traffic } from './stage.js';

/** `idleMs`: how long apps without work are measured. Their rate is taken off. */
export interface CountingSizes {
  readonly warmUp: number;
  readonly counted: number;
  readonly idleMs: number;
}
const SIZES: CountingSizes = { warmUp: 200, counted: 400, idleMs: 4_000 };
const STILL_MS = 1_000;
const STILL_BOUND_MS = 30_000;
/** At rest the apps still scan for work: about this share more than in the window before is rest, too. */
const STILL_SHARE = 1.3;
const STILL_COMMANDS = 10;

export interface CountedStatement {
  readonly database: App;
  readonly shape: string;
  readonly perPurchase: number;
}

/** Per purchase. */
export interface Count extends Counts {
  readonly roundTrips: number;
  readonly messages: number;
  readonly shapes: readonly CountedStatement[];
}

/** Counts these variants without and with notification. Each kind of shop runs alone. */
export async function playCounting(
  stage: Stage,
  variants: readonly Variant[],
  progress: Progress,
  sizes = SIZES,
): Promise<Map<string, Count>> {
  const counted = new Map<string, Count>();
  for (const kind of new Set(variants.map((variant) => kindOf({ variant })))) {
    const here = variants.filter((variant) => kindOf({ variant }) === kind);
    progress.step(`starting behind counting proxies: ${kind}`);
    const shop = await stage.open(kind, { counting: true });
    try {
      for (const of of here.flatMap((variant) => casesOf(variant, sizes)))
        counted.set(nameOf(of), await count(of, { shop, progress, sizes }));
    } finally {
      await shop.stop();
    }
  }
  return counted;
}

const casesOf = (variant: Variant, { counted }: CountingSizes): Case[] =>
  (isNaive(variant) || isPeer(variant) ? [false] : [false, true]).map((notify) => ({
    variant,
    concurrency: TABLE_CONCURRENCY,
    skus: 'many',
    notify,
    purchases: counted,
  }));

interface Counting {
  readonly shop: Shop;
  readonly progress: Progress;
  readonly sizes: CountingSizes;
}

async function count(of: Case, { shop, progress, sizes }: Counting): Promise<Count> {
  const { warmUp, counted, idleMs } = sizes;
  progress.step(`counting: ${nameOf(of)}`);
  const buy = async (purchases: number) => {
    const some = { ...of, purchases };
    await untilSettled(some, await purchasesOf(some, shop), shop);
    await untilAtRest(some, shop);
    await untilStill(shop.traffic!);
  };
  const look = async () => ({ ...(await shop.databases.counts()), ...trafficOf(shop.traffic!), at: performance.now() });
  await buy(warmUp);
  const before = await look();
  await sleep(idleMs, undefined, { signal: progress.signal });
  const rested = await look();
  await buy(counted);
  const after = await look();
  // The apps go on looking for work while they have some, so the same rate is taken off.
  const idleShare = (after.at - rested.at) / (rested.at - before.at);
  const per = (pick: (one: typeof after) => number) =>
    Math.max(0, (pick(after) - pick(rested) - (pick(rested) - pick(before)) * idleShare) / counted);
  return {
    roundTrips: per(({ commands }) => commands),
    messages: per(({ published }) => published),
    statements: per(({ statements }) => statements),
    commits: per(({ commits }) => commits),
    fsyncs: per(({ fsyncs }) => fsyncs),
    shapes: DATABASES.flatMap((database) =>
      [...after.shapes[database].keys()].map((shape) => ({
        database,
        shape,
        perPurchase: per(({ shapes }) => shapes[database].get(shape) ?? 0),
      })),
    ),
  };
}

function trafficOf({ databases, broker }: Traffic) {
  const shapes = Object.fromEntries(DATABASES.map((app) => [app, databases[app].shapes])) as Record<
    App,
    Map<string, number>
  >;
  return { commands: commandsOf(databases), published: broker.published, shapes };
}

const commandsOf = (databases: Traffic['databases']) =>
  DATABASES.reduce((sum, app) => sum + databases[app].commands, 0);

/** Waits until no message is published and the commands no longer fall: receipts, marks and notifications follow an order. */
async function untilStill({ databases, broker }: Traffic): Promise<void> {
  let last = Number.POSITIVE_INFINITY;
  const isStill = async () => {
    const [commands, published] = [commandsOf(databases), broker.published];
    await sleep(STILL_MS);
    const here = commandsOf(databases) - commands;
    const isRest =
      broker.published === published && here <= last * STILL_SHARE && last <= here * STILL_SHARE + STILL_COMMANDS;
    last = here;
    return isRest;
  };
  await until(isStill, { boundMs: STILL_BOUND_MS, everyMs: 1 });
}
