// Waits for the id of the work that a stimulus has begun.

import { until } from '../../cli/waits-and-progress.js';
import type { Databases } from '../../sandbox/database-reader.js';
import { refusalIn } from '../../shop/purchase.js';
import type { Stimulus } from './stimulus.js';

/** The id of the work, from a row or from a refusal. A refused purchase may have left no row, so there is nothing to heal. */
export async function untilGid(
  { findGid, answered }: Pick<Stimulus, 'findGid' | 'answered'>,
  databases: Databases,
  boundMs: number,
): Promise<{ gid: string; isRefusal: boolean } | null> {
  let refused: string | null = null;
  answered.then(
    (answer) => {
      if (answer && refusalIn(answer.answered)) refused = answer.orderId;
    },
    () => {},
  );
  return until(
    async () => {
      const gid = await findGid(databases);
      if (gid !== null) return { gid, isRefusal: false };
      return refused === null ? null : { gid: refused, isRefusal: true };
    },
    { boundMs },
  );
}
