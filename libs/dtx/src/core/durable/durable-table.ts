import type { SqlValue } from '../database/literal.js';

/**
 * Describes a table whose rows are work that is repeated until it is done (at least once). Pure data: the loop, the
 * operations of `/dtx`, the audit, the trace and the docs read it.
 *
 * Every such table has these columns: `id` (unique), `state`, `attempts`, `next_attempt_at` (NULL: nothing to do. Otherwise
 * the row is due then, which is also when a lease expires), `claim_token` (the fencing token of the process that works on
 * the row), `last_error`, and an index named `due` that begins with `next_attempt_at`. Finished rows are NULL there, so a
 * claim costs the same with ten million of them.
 */
export interface DurableTable {
  readonly name: string;
  /** Columns that the work reads, beside the common ones. */
  readonly columns: readonly string[];
  /** States of open rows. `next_attempt_at` is set in these and NULL in all others. */
  readonly openStates: readonly string[];
  /** The state of a row that was carried out, as SQL. */
  readonly finalState: string;
  /** The column with the time of the end, if there is one. */
  readonly endedAt?: 'done_at' | 'settled_at';
  /**
   * The concurrency key: a column among `columns`. Rows with one value share a bound on how many are in work at once, so a
   * slow consumer or target delays no other (see `Lanes`). It is the second column of the index `due`.
   */
  readonly lane?: string;
  /**
   * The work is code of the user's and may end the process. An expired lease then counts as an attempt. Otherwise a row
   * that kills its process would be claimed for ever.
   */
  readonly countsLostLeases?: boolean;
  /** How the rows appear in `/dtx`. Without it they do not. */
  readonly shown?: ShownTable;
}

/** How the rows of a table appear in `/dtx`. */
export interface ShownTable {
  /** The scheme of every row, or null where a column `scheme` tells. */
  readonly scheme: string | null;
  /** The state that a person's retry gives a PARKED row, as SQL. */
  readonly retryState: string;
  /** Rows from this id on belong to the library and are not listed. */
  readonly below?: string;
  /** One line about a row, such as `invoice.issued v1 to mail.send-invoice`. */
  readonly what: (row: TableRow) => string;
  /** The moments of a row in order. Those without a time are left out. */
  readonly moments: (row: TableRow) => readonly Moment[];
}

/** All columns of a row. */
export type TableRow = Record<string, unknown> & { readonly id: string; readonly state: string };

/** A time as the driver read it, and what happened then. */
export type Moment = readonly [at: unknown, event: string];

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
