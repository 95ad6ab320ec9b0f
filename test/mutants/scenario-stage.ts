import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';

/** A sandbox of its own and a build. */
export class Stage {
  readonly shop: Stack;
  private readonly closings: Array<() => Promise<unknown>> = [];

  private constructor(
    readonly sandbox: Sandbox,
    readonly root: string,
  ) {
    this.shop = new Stack(sandbox, { root });
  }

  /** Sandboxes are named by stages that are open at the same time, not by mutants, because a Redis has few databases. */
  static async open(name: string, root: string): Promise<Stage> {
    // A mutant leaves violations behind that the audit would find.
    return new Stage(await freshSandbox(`mutants_${name}`, { audited: false }), root);
  }

  /** Registers a thing to be closed after the apps. */
  readonly keep = <T extends { close(): Promise<unknown> }>(thing: T): T => {
    this.closings.push(() => thing.close());
    return thing;
  };

  /** A mutant is killed, not stopped. */
  async close(): Promise<void> {
    await Promise.all(this.shop.instances.map((instance) => instance.kill()));
    for (const close of this.closings) await close();
  }
}
