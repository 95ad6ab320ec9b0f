import type { CaseName } from '../../tools/src/commands/crash-matrix/cases.js';
import type { AppProcess } from '../fixtures/app-process.js';
import type { AppName } from '../fixtures/sandbox.js';
import type { Stack } from '../fixtures/three-apps.js';

/** The fate of the process that reaches the failpoint. */
export type Mode = 'crash' | 'pause, recover, kill' | 'pause, recover, continue' | 'error' | 'lost';

export const MODES: readonly Mode[] = ['crash', 'pause, recover, kill', 'pause, recover, continue', 'error', 'lost'];

/** The name of a case, which the reporter of `npm run crash-matrix` reads. */
export function inMatrix(failpoint: string, app: string, mode: Mode, when = '') {
  return { meta: { matrix: { failpoint, app, when, mode } satisfies CaseName } };
}

declare module 'vitest' {
  interface TaskMeta {
    matrix?: CaseName;
  }
}

/** All modes in the long run. Otherwise the given ones, because another mode or another failpoint covers the rest. */
export const few = (...modes: Mode[]): readonly Mode[] => (process.env.DTX_TEST_ALL ? MODES : modes);

/** The purchase (or message) that a case has started. */
export interface Attempt {
  /** Empty until an id is committed. */
  orderId: string;
  readonly key: string;
}

export interface Case {
  readonly shop: Stack;
  readonly scheme: Scheme;
  readonly row: Row;
  readonly mode: Mode;
  /** The armed instance. It is the only one of its app that runs until it has reached its failpoint. */
  readonly victim: AppProcess;
  readonly attempt: Attempt;
}

/** The expectations of the end of a case. They throw (expect, until) if one does not hold. */
export interface Proof {
  /** The answer to a repetition of the call with its key, after the warm instance of the victim's app goes on. */
  healed(at: Case): Promise<void>;
  /** The rows in every database after the victim has ended. */
  exactlyOnce?(at: Case): Promise<void>;
}

/** How purchases of a scheme are made and judged, for all rows of its matrix. */
export interface Scheme extends Proof {
  /** The app that takes the call, and its path. */
  readonly app: AppName;
  readonly path: string;
  /** The body of the call. A book for Alice by default. */
  readonly wanted?: object;
  /** Environment of every instance beside the common one. */
  readonly env?: Record<string, string>;
}

/**
 * A row of the matrix: a failpoint and the app whose process dies there. Its title is the failpoint's own sentence, and
 * `disk` proves that the sentence is true while the process is down.
 */
export interface Row {
  readonly failpoint: string;
  readonly app: AppName;
  /** Tells apart rows of one failpoint in one app. */
  readonly when?: string;
  /** More failpoints of the victim, if it needs them to reach this one. */
  readonly alsoArmed?: string;
  /** Options of the victim beside the short times. */
  readonly options?: Record<string, Record<string, unknown>>;
  /** All modes by default. */
  readonly modes?: readonly Mode[];
  /** The body of the call, instead of the scheme's. */
  readonly wanted?: object;
  /** Makes a handler fail, so that the victim reaches the failpoint. Returns how to undo it. */
  arrange?(shop: Stack): Promise<() => Promise<void>>;
  /** Starts the work if the scheme's call does not reach the failpoint. Returns its id. */
  trigger?(shop: Stack): Promise<string>;
  /** The rows on disk while the victim is stopped at the failpoint and no other instance of its app runs. */
  disk(at: Case): Promise<void>;
  /** What another instance does while the victim is still stopped. By default it makes the order final. */
  recovered?(at: Case): Promise<unknown>;
  /** Replaces the scheme's expectations. */
  readonly proof?: Proof;
}

/** Recovery while the victim is stopped: none, because its open transaction holds the row locks, or no order exists. */
export const notYet = async (): Promise<void> => {};
