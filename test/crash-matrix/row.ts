import type { AppProcess } from '../fixtures/app-process.js';
import type { Stack } from '../fixtures/stack.js';
import type { AppName } from '../fixtures/world.js';

/** What is done to the process that reaches the point. */
export type Mode = 'crash' | 'pause, recover, kill' | 'pause, recover, continue' | 'error' | 'lost';

export const MODES: readonly Mode[] = ['crash', 'pause, recover, kill', 'pause, recover, continue', 'error', 'lost'];

/** All modes in the long run; else without those that show what another mode of the point, or another point, shows too. */
export const few = (...modes: Mode[]): readonly Mode[] => (process.env.DTX_TEST_ALL ? MODES : modes);

/** One purchase (or message) that the case has set in motion. */
export interface Attempt {
  /** Known once somebody has answered; found by the Idempotency-Key when the first answer was lost. */
  orderId: string;
  readonly key: string;
}

export interface Case {
  readonly shop: Stack;
  readonly mode: Mode;
  /** The armed instance. */
  readonly victim: AppProcess;
  readonly attempt: Attempt;
  /** The attempt with which the victim met its point; the others passed by. */
  readonly met: Attempt;
}

/** How purchases of a scheme are made and judged: what the rows of its matrix share. */
export interface Scheme {
  /** The app that takes the call, and where. */
  readonly app: AppName;
  readonly path: string;
  /** Environment of every instance beside the common one. */
  readonly env?: Record<string, string>;
  /** Whether a purchase went by without the victim: it is over, and the victim has not met its point. */
  passed(shop: Stack, orderId: string): Promise<boolean>;
  /** What the caller finds out with its key once the others have recovered. Throws (expect) if that may not be. */
  healed(at: Case, row: Row): Promise<void>;
  /** What every database says of the purchase once the victim has gone, too. */
  exactlyOnce(at: Case, row: Row): Promise<void>;
}

/**
 * A row of the matrix: at which failpoint which process dies. Its title is the failpoint's own sentence, and `disk`
 * proves that the sentence is true while the process is down.
 */
export interface Row {
  readonly failpoint: string;
  readonly app: AppName;
  /** Tells apart rows of one point in one app. */
  readonly when?: string;
  /** More failpoints of the victim, where the point is not met by itself. */
  readonly alsoArmed?: string;
  /** Options of the victim beside the common short times. */
  readonly options?: Record<string, Record<string, unknown>>;
  /** Modes that this point has; all by default. */
  readonly modes?: readonly Mode[];
  /** What is bought: by default what can be had. */
  readonly wanted?: object;
  /** What the purchase comes to, where the scheme leaves more than one way. */
  outcome?(mode: Mode): 'CONFIRMED' | 'CANCELLED' | 'either';
  /** The victim meets the point as a receiver, also where its app is the one that takes the call. */
  readonly receives?: true;
  /** The call's key is not committed while the victim is at the point: the purchase has no id yet. */
  readonly unknownYet?: true;
  /** The victim's transaction is open: while it is only paused the row locks hold everybody off, and nobody may guess. */
  readonly transactionOpen?: true;
  /** Makes the handlers fail, or whatever else leads to the point; returns how to undo it. */
  arrange?(shop: Stack): Promise<() => Promise<void>>;
  /** Sets the purchase going when a plain order does not reach the point; answers its order id, or '' when it has none. */
  trigger?(shop: Stack): Promise<string>;
  /** Done before each further purchase, when the one before has passed by. */
  beforeNext?(shop: Stack): Promise<void>;
  /** What must be on disk while the victim is stopped at the point. Throws (expect) if it is not. */
  disk(at: Case): Promise<void>;
  /** What the others must have done while the victim is still stopped, where a final order does not tell. */
  recovered?(at: Case): Promise<unknown>;
  /** Whether a purchase went by without the victim, where that is seen in another way than the scheme's own. */
  passed?(shop: Stack, orderId: string): Promise<boolean>;
  /** What must be true in the end, instead of what the scheme says. */
  healed?(at: Case): Promise<void>;
}
