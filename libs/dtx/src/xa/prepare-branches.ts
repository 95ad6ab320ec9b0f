// End of step 2 of 5 - prepare. If the process dies here, recovery rolls back the prepared branches after the deadline.
import { Injectable } from '@nestjs/common';
import { failpoint } from '../core/failpoint.js';
import type { XaBranch } from './branch.js';
import { isAnswered } from './branch-connection.js';
import { failpoints } from './failpoints.js';
import { TracedPrepare } from './traced-phases.js';
import type { WorkOrder } from './work-order.js';

/** Prepares all branches of a transaction. */
@Injectable()
export class PrepareBranches {
  /**
   * Prepares in parallel. Branches whose statements still wait are prepared one after the other, in the order of the work,
   * since their packets lock rows. Those of the last resource travel with the decision if they are the last ones.
   * A lost answer counts as no: the connection ends, and recovery resolves a prepared branch.
   * @throws the error of the first branch that is not prepared
   */
  @TracedPrepare
  async prepareAll(branches: readonly XaBranch[], order: WorkOrder): Promise<void> {
    const { waiting } = order;
    const named = new Map(branches.map((branch) => [branch.name, branch]));
    const atOnce = branches.filter(({ name }) => !waiting.some((place) => place.name === name));
    let isFirst = true;
    const prepare = (branch: XaBranch) => {
      const point = isFirst ? failpoints.preparedFirst : undefined;
      isFirst = false;
      return failpoint(point, () => branch.prepare()).catch((error) => {
        if (!isAnswered(error)) branch.giveUp();
        throw error;
      });
    };
    // guard: xa.prepare-in-turn
    const inTurn = async () => {
      for (const [index, place] of waiting.entries()) {
        const branch = named.get(place.name);
        if (branch) await prepare(branch);
        else if (index < waiting.length - 1) await place.send();
      }
    };
    const all = await Promise.allSettled([inTurn(), ...atOnce.map(prepare)]);
    const failed = all.find((one) => one.status === 'rejected');
    if (failed) throw failed.reason;
    await failpoint(failpoints.preparedAll, async () => {});
  }
}
