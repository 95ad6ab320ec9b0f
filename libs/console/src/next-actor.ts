import { isFinal } from './states.js';
import type { TracedRow } from './types.js';

/** Who acts next on a row. */
export type NextActor = 'finished' | 'recovery' | 'operator' | 'receiver' | 'predecessor' | 'schedule' | 'app';

/** Rows that an operator cannot act on, since they are final or belong to another row. */
const WITHOUT_ACTIONS = ['dtx_tcc_barrier', 'dtx_saga_barrier', 'dtx_xa_witness'];
/** Branches of XA that no witness has settled. A server that does not answer may still have a prepared branch. */
const IN_DOUBT = ['PREPARED', 'UNKNOWN'];
/** States that name their next actor. Every other open row is in work by its app. */
const BY_STATE: Readonly<Record<string, NextActor>> = {
  PARKED: 'operator',
  HELD: 'receiver',
  WAITING: 'predecessor',
  SCHEDULED: 'schedule',
};

export function nextActorOf({ source, state }: Pick<TracedRow, 'source' | 'state'>): NextActor {
  if (WITHOUT_ACTIONS.includes(source)) return IN_DOUBT.includes(state) ? 'recovery' : 'finished';
  if (isFinal(state)) return 'finished';
  return BY_STATE[state] ?? 'app';
}

/** Whether an operator may retry or resolve the row. */
export const isOpen = (row: Pick<TracedRow, 'source' | 'state'>): boolean =>
  !['finished', 'recovery'].includes(nextActorOf(row));
