import { SHORT_TIMES } from '../crash-matrix/short-times.js';
import type { AppProcess } from '../fixtures/app-process.js';
import { expectAuditClean } from '../fixtures/purchase-checks.js';
import type { Sandbox } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';

/** The inventory app of a shop with short times. A test restarts it with options of its own. */
export class RestartedInventory {
  private seller: AppProcess | undefined;

  private constructor(readonly shop: Stack) {}

  static async open(sandbox: Sandbox): Promise<RestartedInventory> {
    const shop = new Stack(sandbox, { options: SHORT_TIMES });
    await shop.start();
    await Promise.all([shop.account('alice', 1_000_000), shop.stock('book', 100)]);
    await shop.of('inventory').stop();
    return new RestartedInventory(shop);
  }

  /** The only inventory app. The sweeper runs too rarely to matter, so a message that is sent late was sent by a check. */
  async restart(halfMessage: object, failpoints?: string): Promise<AppProcess> {
    await this.seller?.stop();
    const options = {
      ...SHORT_TIMES,
      halfMessage: { ...SHORT_TIMES.halfMessage, sweepAfterMs: 600_000, ...halfMessage },
    };
    [this.seller] = await this.shop.start(['inventory'], { options, ...(failpoints ? { failpoints } : {}) });
    return this.seller!;
  }

  /** Ends the shop. With a usual inventory app every invariant holds. */
  async close(): Promise<void> {
    await this.seller?.stop();
    await this.shop.start(['inventory']);
    await expectAuditClean(this.shop);
    await this.shop.stop();
  }
}
