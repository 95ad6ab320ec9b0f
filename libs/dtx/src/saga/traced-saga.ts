import { Traced } from '../core/traced-steps.js';
import { SCHEME } from './scheme-name.js';

/** A run of a saga in one instance. */
export const TracedRun = Traced(({ id: gid, saga }: { readonly id: string; readonly saga: string }) => ({
  operation: 'run',
  target: saga,
  scheme: SCHEME,
  gid,
  isCausedByMessage: true,
}));

/** A call at the app of its step. */
export const TracedCall = Traced(
  ({ phase, gid }: { readonly phase: string; readonly gid: string }, to: { readonly contract: { name: string } }) => ({
    operation: phase,
    target: to.contract.name,
    scheme: SCHEME,
    gid,
    isCausedByMessage: true,
  }),
);
