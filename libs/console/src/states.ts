/** States of rows with work left, as the tables of the library name them. A rules test compares the names. */
export const OPEN_STATES: readonly string[] = [
  'PARKED',
  'PENDING',
  'SENT',
  'SCHEDULED',
  'WAITING',
  'HELD',
  'RETRYING',
  'TRYING',
  'CONFIRMING',
  'CANCELLING',
  'COMMITTED',
  'COMMITTING',
  'ROLLING_BACK',
  'RECHECK',
  'RUNNING',
  'PIVOT',
  'FORWARD',
  'COMPENSATING',
];

/** States of rows without work. */
export const FINAL_STATES: readonly string[] = [
  'DONE',
  'HANDLED',
  'CONFIRMED',
  'CANCELLED',
  'DELIVERED',
  'CLOSED',
  'ROLLED_BACK',
  'COMPLETED',
  'COMPENSATED',
];

/** States of branches of XA and TCC, which are part of another row. */
const FINAL_STATES_OF_BRANCHES = ['APPLIED', 'NO_TRACE'];

export const isFinal = (state: string): boolean =>
  FINAL_STATES.includes(state) || FINAL_STATES_OF_BRANCHES.includes(state);

/** COMMITTED is final for a branch of XA, and the first state of a half message. */
export function stateClass(state: string): 'good' | 'bad' | 'busy' {
  if (/PARKED|HELD|UNKNOWN/.test(state)) return 'bad';
  return isFinal(state) || state === 'COMMITTED' ? 'good' : 'busy';
}
