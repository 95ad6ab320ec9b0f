// How the purchase that reached a failpoint may end.

import type { Failpoint } from 'nest-dtx';
import type { Outcome } from '../../shop/purchase.js';

/** Whether the shop refused a purchase because goods or money ran out. Other buyers may have taken the last ones meanwhile. */
export const isHonestRefusal = (final: Outcome | null): boolean =>
  final?.status === 'CANCELLED' && (final.reason === 'OUT_OF_STOCK' || final.reason === 'INSUFFICIENT_FUNDS');

/** Whether a purchase ended as it may: a TCC transaction without a decision is cancelled as a whole at its deadline. */
export function endedWell(point: Failpoint, final: Outcome | null): boolean {
  if (isHonestRefusal(final)) return true;
  if (point.name === 'half-message.rolled-back') return false;
  if (final?.status === 'CONFIRMED') return true;
  return point.scheme === 'tcc' && final?.status === 'CANCELLED' && final.reason === 'TIMEOUT';
}
