import { Stack } from '../fixtures/stack.js';
import { freshWorld, type World } from '../fixtures/world.js';
import type { Mutant } from './mutant.js';

/** What a mutant must break, looked at once the scenario has been played. Throws (expect, until) when it does not hold. */
export type Claim = () => Promise<void>;

/** The same lines are played on the build as it is, where the claim must hold, and on each mutant, where it must not. */
export interface Scenario {
  /** What the library promises here. */
  readonly promise: string;
  readonly mutants: readonly Mutant[];
  /** Leads up to the claim. Whatever goes wrong on the way is a mistake of the scenario, on a mutant as well. */
  play(stage: Stage): Promise<Claim>;
}

/** A world of its own and a build. */
export class Stage {
  readonly shop: Stack;
  private readonly closings: Array<() => Promise<unknown>> = [];

  private constructor(
    readonly world: World,
    readonly root: string,
  ) {
    this.shop = new Stack(world, { root });
  }

  /** Worlds are named by stages that are open at the same time, not by mutants: a Redis has few databases to give. */
  static async open(name: string, root: string): Promise<Stage> {
    // A mutant leaves behind what the audit exists to find.
    return new Stage(await freshWorld(`mutants_${name}`, { audited: false }), root);
  }

  /** Closed in the end, after the apps. */
  readonly keep = <T extends { close(): Promise<unknown> }>(thing: T): T => {
    this.closings.push(() => thing.close());
    return thing;
  };

  /** Nothing of a mutant deserves a polite stop. */
  async close(): Promise<void> {
    await Promise.all(this.shop.instances.map((instance) => instance.kill()));
    for (const close of this.closings) await close();
  }
}
