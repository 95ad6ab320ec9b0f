// What each part of a bench beside the purchases is given.
import { OperatorError } from '../../../cli/operator-error.js';
import { until } from '../../../cli/waits-and-progress.js';
import type { Progress } from '../bench-progress.js';
import type { Finding } from '../report.js';
import type { Stage } from '../stage.js';

export interface PartOptions {
  readonly stage: Stage;
  readonly progress: Progress;
  /** Fewer rows and purchases. */
  readonly quick: boolean;
  /** Largest number of finished rows in `claims`, and of due rows in `backlog`. Null for the usual numbers. */
  readonly rows: number | null;
}

export type PlayPart = (options: PartOptions) => Promise<Finding[]>;

/** Seconds until `isDone`. @throws OperatorError at the limit */
export async function secondsUntil(what: string, isDone: () => Promise<boolean>, boundMs: number): Promise<number> {
  const since = performance.now();
  if (!(await until(isDone, { boundMs, everyMs: 50 })))
    throw new OperatorError(`bench: ${what} took longer than ${boundMs / 1_000} s`);
  return (performance.now() - since) / 1_000;
}
