// A TCC transaction is named by initiator, gid and incarnation. The barrier has '-' for what an instance of the version
// before did not say.

const UNKNOWN = '-';

/** In SQL: rows `first` and `second` of the barrier are of one branch of one transaction, as far as they say. */
export const OF_ONE_TRANSACTION = `second.gid = first.gid AND second.branch = first.branch
  AND second.participant = first.participant
  AND (second.initiator = first.initiator OR '${UNKNOWN}' IN (first.initiator, second.initiator))
  AND (second.incarnation = first.incarnation OR '${UNKNOWN}' IN (first.incarnation, second.incarnation))`;

/**
 * Whether a row of the barrier is of a transaction, as far as both say.
 * @param {{ initiator: string, incarnation: string }} row
 * @param {{ initiator: string, incarnation: string | null }} transaction of the same gid
 */
export function fits(row, { initiator, incarnation }) {
  const isSame = (one, other) => one === other || one === UNKNOWN || other === UNKNOWN;
  return isSame(row.initiator, initiator) && isSame(row.incarnation, incarnation ?? UNKNOWN);
}
