import { Traced } from '../core/traced-steps.js';
import { SCHEME } from './failpoints.js';

/** The steps of a transaction that a tracer sees. */
export const TracedRun = Traced(({ gid }: { readonly gid?: string }) => ({
  operation: 'run',
  target: '',
  scheme: SCHEME,
  gid,
}));

export const TracedSecondPhase = Traced(({ id: gid }: { readonly id: string }) => ({
  operation: 'second phase',
  target: '',
  scheme: SCHEME,
  gid,
  isCausedByMessage: true,
}));

/** A phase at its participant. */
export const TracedCall = Traced(
  ({ phase, gid }: { readonly phase: string; readonly gid: string }, to: { readonly contract: { name: string } }) => ({
    operation: phase,
    target: to.contract.name,
    scheme: SCHEME,
    gid,
    isCausedByMessage: true,
  }),
);
