import { Traced } from '../core/traced-steps.js';
import { SCHEME } from './failpoints.js';
import type { XaRow } from './xa-tables.js';

/** The steps of a transaction that a tracer sees. */
export const TracedRun = Traced((names: readonly string[]) => ({
  operation: 'run',
  target: names.join(','),
  scheme: SCHEME,
}));

export const TracedPrepare = Traced((branches: ReadonlyArray<{ readonly name: string }>) => ({
  operation: 'prepare',
  target: branches.map(({ name }) => name).join(','),
  scheme: SCHEME,
}));

export const TracedDecision = Traced(({ row: { branches, gid } }: { readonly row: XaRow }) => ({
  operation: 'decide',
  target: branches,
  scheme: SCHEME,
  gid,
}));

/** A row has no trace, so a round of the scan begins one. */
export const TracedRound = Traced(({ branches, decision, gid }: XaRow) => ({
  operation: decision === 'COMMIT' ? 'commit' : 'rollback',
  target: branches,
  scheme: SCHEME,
  gid,
  isCausedByMessage: true,
}));
