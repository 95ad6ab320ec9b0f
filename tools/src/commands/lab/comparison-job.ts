// The same purchase through every scheme: time, commits and messages of each.
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../../cli/waits-and-progress.js';
import { call } from '../../shop/app-calls.js';
import { buy, type PurchaseScheme, SCHEMES, type Urls, type Wanted } from '../../shop/purchase.js';
import { ShopDatabases } from '../bench/shop-databases.js';
import type { Job } from './job-runner.js';
import type { LabTarget } from './target.js';

/** Bought of each scheme. Their median and mean are less moved by the background work of the apps. */
const TIMES = 5;
const REST_BOUND_MS = 30_000;
const IDLE_MS = 2_000;
const IDLE_LOOKS = 3;

export interface ComparedScheme {
  readonly scheme: PurchaseScheme;
  readonly orderId: string;
  readonly status: string;
  readonly reason: string;
  /** Median, from the call of the buyer to the final order. */
  readonly ms: number;
  /** Mean per purchase, of transactions that changed something, in all databases. */
  readonly commits: number;
  /** Mean per purchase, of messages with a publisher confirm, of all apps. */
  readonly messages: number;
}

interface Look {
  readonly commits: number;
  readonly messages: number;
  readonly at: number;
}

export async function compare({ urls, sandbox }: LabTarget, wanted: Wanted, job: Job): Promise<ComparedScheme[]> {
  const schemes = Object.keys(SCHEMES) as PurchaseScheme[];
  const databases = await ShopDatabases.open(sandbox);
  const total = schemes.length * TIMES;
  try {
    const look = async (): Promise<Look> => {
      await until(() => databases.isAtRest(), { boundMs: REST_BOUND_MS, everyMs: 100 });
      return { commits: (await databases.counts()).commits, messages: await messagesOf(urls), at: performance.now() };
    };
    job.progress(0, total);
    // The rate of apps without work is taken off: readiness and leases write, too.
    const idle = await idleRate(look);
    const compared: ComparedScheme[] = [];
    for (const scheme of schemes) {
      await buy(urls, scheme, wanted); // the first one may have to connect
      const before = await look();
      const made = [];
      for (let n = 1; n <= TIMES; n += 1) {
        made.push(await buy(urls, scheme, wanted));
        job.progress(compared.length * TIMES + n, total);
      }
      const spent = difference(before, await look(), idle);
      const { orderId, status, reason } = made.at(-1)!;
      compared.push({ scheme, orderId, status, reason, ms: median(made.map(({ ms }) => ms)), ...spent });
      job.set({ result: compared });
    }
    return compared;
  } finally {
    await databases.close();
  }
}

/** Commits per millisecond. The smallest of several looks, since late work of earlier purchases is not idleness. */
async function idleRate(look: () => Promise<Look>): Promise<number> {
  const rates: number[] = [];
  for (let before = await look(); rates.length < IDLE_LOOKS; ) {
    await sleep(IDLE_MS);
    const now = await look();
    rates.push(perMs(before, now));
    before = now;
  }
  return Math.min(...rates);
}

const perMs = (one: Look, other: Look) => (other.commits - one.commits) / (other.at - one.at);

function difference(before: Look, after: Look, idleCommitsPerMs: number) {
  const commits = after.commits - before.commits - idleCommitsPerMs * (after.at - before.at);
  return { commits: perPurchase(commits), messages: perPurchase(after.messages - before.messages) };
}

const perPurchase = (sum: number) => Math.max(0, Math.round((sum / TIMES) * 10) / 10);
const median = (values: readonly number[]) => [...values].sort((one, other) => one - other)[values.length >> 1] ?? 0;

/** Publisher confirms that the apps have counted since their start. */
async function messagesOf(urls: Urls): Promise<number> {
  const texts = await Promise.all(Object.values(urls).map((url) => call<string>('GET', `${url}/metrics`)));
  return texts
    .flatMap(({ body }) => [...String(body).matchAll(/^dtx_publish_seconds_count\S* (\d+)$/gm)])
    .reduce((sum, [, count]) => sum + Number(count), 0);
}
