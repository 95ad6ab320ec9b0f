import { once } from 'node:events';
import { AppProcess } from './app-process.js';
import { APPS, type Stack } from './stack.js';
import { until } from './until.js';
import type { AppName, World } from './world.js';

export { random } from '../../tools/src/commands/chaos/random.js';

const LIMIT = { withinMs: 60_000 };

/** One instance of an app, and somebody who starts it again whenever it has died, as an operator's supervisor does. */
export class House {
  current: AppProcess | undefined;
  starts = 0;
  private closing = false;
  private readonly living: Promise<void>;

  constructor(
    readonly app: AppName,
    private readonly label: string,
    private readonly world: World,
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
      this.current = AppProcess.spawn(this.app, { world: this.world, label: `${this.label}-${++this.starts}` });
      const ended = once(this.current.child, 'exit');
      await this.current.untilListening().catch(() => {}); // killed while it started
      await ended;
    }
  }
}

/** Two houses of every app. */
export function housesIn(world: World): House[] {
  return ['a', 'b'].flatMap((label) => APPS.map((app) => new House(app, label, world)));
}

export const untilAllReady = (shop: Stack, houses: readonly House[]) =>
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

/** Kills one of them, if it is not just starting, and most others live: else all would only be kept down. Answers which. */
export async function killOne(
  houses: readonly House[],
  pick: () => number,
  which: (house: House) => boolean = () => true,
): Promise<AppName | null> {
  await until('most of them live', () => houses.filter(({ url }) => url).length >= houses.length - 2, LIMIT);
  const chosen = houses.filter(which);
  const house = chosen[Math.floor(pick() * chosen.length)]!;
  return (await house.kill()) ? house.app : null;
}
