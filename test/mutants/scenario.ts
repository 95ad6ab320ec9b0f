import type { Mutant } from './mutant.js';
import type { Stage } from './scenario-stage.js';

/** The claim that a mutant must break. It is checked after the scenario was played, and throws (expect, until) when it does not hold. */
export type Claim = () => Promise<void>;

/** The same lines are played on the build as it is, where the claim must hold, and on each mutant, where it must not. */
export interface Scenario {
  /** The library's promise as a sentence. */
  readonly promise: string;
  readonly mutants: readonly Mutant[];
  /**
   * A pair: two mutants that each keep the promise, because the mechanism that one lacks hides that the other is missing.
   * Their edits together are one of `mutants`.
   */
  readonly pair?: readonly [Mutant, Mutant];
  /** Leads up to the claim. A failure on the way is a mistake of the scenario, on a mutant as well. */
  play(stage: Stage): Promise<Claim>;
}
