/**
 * Reaction of a consumer to a pause. `stop`: takes nothing. `last`: takes what no other consumer takes. `never`: goes on,
 * for deliveries that need no database.
 */
export type Pausing = 'stop' | 'last' | 'never';

/** Consumer priority. The broker delivers there when no consumer with the default of 0 has room. */
const LAST = -1;

/** Arguments of a consumer that attaches during a pause, or without one. */
export function priorityDuring(pauseReason: string | undefined): { priority?: number } {
  return pauseReason === undefined ? {} : { priority: LAST };
}
