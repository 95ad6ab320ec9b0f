import { once } from 'node:events';
import { afterAll, beforeAll, onTestFailed, test } from 'vitest';
import { AppProcess } from './support/app-process.js';
import { expectAuditClean, expectToldTruth, Load, openShop, untilPassed, untilSettled } from './support/load.js';
import { APPS, Stack } from './support/stack.js';
import { until } from './support/until.js';
import { type AppName, freshWorld } from './support/world.js';

const PURCHASES = 1_000;
const CALLERS = 32;
const KILL_EVERY_MS = 3_000;
const KILLS_MIN = 6;
/** Shorter than any resend: whatever a kill leaves behind is found again by a lease or a redelivery. */
const SETTLE_MS = 40_000;
const LIMIT = { withinMs: 60_000 };
const seed = Number(process.env.TEST_SEED ?? Date.now() % 1_000_000);

let shop: Stack;
const houses: House[] = [];

/** One instance of an app, and somebody who starts it again whenever it has died, as an operator's supervisor does. */
class House {
  current: AppProcess | undefined;
  starts = 0;
  private closing = false;
  private readonly living: Promise<void>;

  constructor(
    readonly app: AppName,
    private readonly label: string,
  ) {
    this.living = this.live();
  }

  /** Where it can be asked now; nothing while it starts. */
  get url(): string {
    return this.current && !this.current.exited ? this.current.url : '';
  }

  /** Answers whether there was anybody to kill: it may be just starting, or in the middle of its work. */
  async kill(): Promise<boolean> {
    if (!this.current || this.current.exited) return false;
    await this.current.kill();
    return true;
  }

  async close(): Promise<void> {
    this.closing = true;
    await this.current?.stop();
    await this.living;
  }

  private async live(): Promise<void> {
    while (!this.closing) {
      this.current = AppProcess.spawn(this.app, { world: shop.world, label: `${this.label}-${++this.starts}` });
      const ended = once(this.current.child, 'exit');
      await this.current.untilListening().catch(() => {}); // killed while it started
      await ended;
    }
  }
}

/** mulberry32: the same seed kills the same apps in the same order. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

beforeAll(async () => {
  shop = new Stack(await freshWorld('random_kills'));
  for (const label of ['a', 'b']) houses.push(...APPS.map((app) => new House(app, label)));
  await untilAllReady();
  shop.instances.push(...houses.map(({ current }) => current!));
  await openShop(shop);
});

afterAll(() => Promise.all(houses.map((house) => house.close())));

const untilAllReady = () =>
  until(
    'all apps are ready',
    async () => {
      for (const { url, current } of houses) {
        if (!url) return false;
        await shop.untilReady(current!);
      }
      return true;
    },
    LIMIT,
  );

test(`${PURCHASES} purchases while a random app is killed every 3 s: all settle, every invariant holds`, async () => {
  onTestFailed(() => console.error(`the kills were those of TEST_SEED=${seed}`));
  const urls = () => houses.filter(({ app, url }) => app === 'order' && url).map(({ url }) => url);
  const load = new Load({ name: 'kills', urls, callers: CALLERS });
  const pick = random(seed);
  const kills: Record<AppName, number> = { order: 0, payment: 0, inventory: 0 };
  const killed = () => kills.order + kills.payment + kills.inventory;
  while (load.told.size < PURCHASES || killed() < KILLS_MIN) {
    await untilPassed(performance.now(), KILL_EVERY_MS);
    // On a machine where a start takes longer than that, killing on would only keep all of them down.
    await until('most of them live', () => houses.filter(({ url }) => url).length >= houses.length - 2, LIMIT);
    const house = houses[Math.floor(pick() * houses.length)]!;
    if (await house.kill()) kills[house.app]++;
  }
  await load.stop();
  const since = performance.now();
  await untilSettled(shop, SETTLE_MS);
  const settledMs = Math.round(performance.now() - since);
  await untilAllReady();
  await load.replay();
  const ended = await expectToldTruth(shop, load);
  console.log(JSON.stringify({ seed, kills, settledMs, ...ended, ...Object.fromEntries(load.answers) }));
  await expectAuditClean(shop);
}, 300_000);
