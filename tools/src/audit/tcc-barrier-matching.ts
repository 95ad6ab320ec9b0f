// A TCC transaction is named by initiator, gid and incarnation. The barrier has '-' for names that an instance of an earlier
// version did not send.

const UNKNOWN = '-';

/** In SQL: rows `first` and `second` of the barrier belong to one branch of one transaction, as far as they are named. */
export const OF_ONE_TRANSACTION = `second.gid = first.gid AND second.branch = first.branch
  AND second.participant = first.participant
  AND (second.initiator = first.initiator OR '${UNKNOWN}' IN (first.initiator, second.initiator))
  AND (second.incarnation = first.incarnation OR '${UNKNOWN}' IN (first.incarnation, second.incarnation))`;

export interface TransactionName {
  readonly initiator: string;
  readonly incarnation: string | null;
}

/** Whether a row of the barrier belongs to a transaction of the same gid, as far as both are named. */
export function fits(
  row: { readonly initiator: string; readonly incarnation: string },
  { initiator, incarnation }: TransactionName,
): boolean {
  const isSame = (one: string, other: string) => one === other || one === UNKNOWN || other === UNKNOWN;
  return isSame(row.initiator, initiator) && isSame(row.incarnation, incarnation ?? UNKNOWN);
}
