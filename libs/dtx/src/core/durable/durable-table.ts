import type { SqlValue } from '../database/literal.js';

/**
 * At least once: a table whose rows are work to be done until it is done. Every such table has these columns:
 * `id` (unique), `state`, `attempts`, `next_attempt_at` (NULL = nothing to do; otherwise due then, which is also when
 * a lease ends), `claim_token` (the fencing token of whoever works on it), `last_error`, and an index on
 * `next_attempt_at` named `due`: finished rows are NULL there, so a claim costs the same with ten million of them.
 */
export interface DurableTable {
  readonly name: string;
  /** Columns that the work needs, beside the common ones. */
  readonly columns: readonly string[];
  /**
   * A column among `columns` by which rows share a bound on how many are in work at once, so that a slow lane holds up
   * no other (see `Lanes`). It is the second column of the index `due`: rows of a full lane are passed over in the index.
   */
  readonly lane?: string;
  /**
   * The work is the user's and may end the process. A lease that ran out is then an attempt like any other: without that,
   * a row that kills whoever takes it would be taken for ever.
   */
  readonly countsLostLeases?: boolean;
}

/** A condition on the rows of a table, and its values. */
export interface Condition {
  readonly sql: string;
  readonly values: readonly SqlValue[];
}

/** A row as claimed. */
export type DurableRow<Extra extends object = object> = Extra & {
  readonly id: string;
  readonly state: string;
  readonly attempts: number;
  readonly claim_token: string;
};
