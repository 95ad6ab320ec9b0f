import type { Edit } from './guard-edit.js';

/** The library with one safety mechanism taken out: a mistake that an implementation could have. */
export interface Mutant {
  readonly name: string;
  /** How it differs from the library. */
  readonly does: string;
  /** The damage to its user. */
  readonly breaks: string;
  /** Part of the failure by which it is found. A mutant that fails in another way has not been found. */
  readonly foundBy: string;
  readonly edits: readonly Edit[];
}
