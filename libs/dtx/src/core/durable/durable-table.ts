import type { Sql } from '../database/sql-executor.js';
import type { SqlValue } from '../database/sql-literals.js';

/**
 * Describes a table of durable work. Each row is repeated until it is done (at least once). Pure data for the loop, the
 * operations of `/dtx`, the audit, the trace and the docs (docs/states.md).
 *
 * Each such table has these columns: `id` (unique), `state`, `attempts`, `next_attempt_at`, `claim_token`,
 * `last_error`. `next_attempt_at` is the due time and also the end of a lease. NULL means nothing to do. `claim_token`
 * is the fencing token of the process that works on the row. The index `due` begins with `next_attempt_at`. Finished
 * rows are NULL there, so the cost of a claim does not depend on their number. The index `by_state` of a table with
 * `shown` has the state, then the id, so a page of one state is read in its order.
 */
export interface DurableTable {
  readonly name: string;
  /** The columns that the work reads, beside the common ones. */
  readonly columns: readonly string[];
  /** The states of open rows. `next_attempt_at` is set in these and NULL in all others. */
  readonly openStates: readonly string[];
  /** The state of a completed row, as SQL. */
  readonly finalState: string;
  /** The column with the completion time, if there is one. */
  readonly endedAt?: 'done_at' | 'settled_at';
  /**
   * The concurrency key: one of `columns`. Rows with the same value share a limit of concurrent work, so a slow
   * consumer or target delays no other (see `KeyShares`). It is the second column of the index `due`.
   */
  readonly concurrencyKey?: string;
  /**
   * The work is user code and may kill the process. An expired lease then counts as an attempt. Otherwise such a row
   * would be claimed without end.
   */
  readonly countsLostLeases?: boolean;
  /** Rows that wait for a time of the user. Needs `concurrencyKey`. */
  readonly delayed?: DelayedRows;
  /** The presentation in `/dtx`. Without it the rows are not listed. */
  readonly shown?: ShownTable;
}

/**
 * Rows with a due time that the user has set, in the column `next_attempt_at`. `created_at` of such a row is the due time
 * as well, so age, retention and order count from there. A claim moves the row from `waiting` to `due`. A row in
 * `waiting` without a token was therefore never in work.
 */
export interface DelayedRows {
  readonly waiting: string;
  readonly due: string;
}

/** The presentation of a table in `/dtx`. */
export interface ShownTable {
  /** The scheme of every row, or null if the column `scheme` holds it. */
  readonly scheme: string | null;
  /** The state of a PARKED row after a retry by an operator, as SQL. */
  readonly retryState: string;
  /** Rows from this id on are internal and not listed. */
  readonly below?: string;
  /** The columns that `what` and `moments` read, beside `VIEW_COLUMNS`. A list never reads a body. */
  readonly columns: readonly string[];
  /** One line about a row, such as `invoice.issued v1 to mail.send-invoice`. */
  readonly what: (row: TableRow) => string;
  /** The events of a row in order. Events without a time are omitted. */
  readonly moments: (row: TableRow) => readonly Moment[];
  /** The time of the commit of a row. The default is `created_at`. */
  readonly committedAt?: (row: TableRow) => unknown;
  /** More about one row, from other tables of its scheme. Only the view of a single transaction reads it. */
  readonly details?: (sql: Sql, row: TableRow) => Promise<Readonly<Record<string, unknown>>>;
  /** The column with the id of the global transaction, which has an index. The default is `gid`. */
  readonly tracedBy?: 'id' | 'gid';
  /** The message that a row sends or has received. A trace joins both ends by its id. */
  readonly message?: (row: TableRow) => MessageEnd;
  /** The column with the business data, which only the view of one payload reads. */
  readonly body?: string;
}

/** One end of a message in a trace. */
export interface MessageEnd {
  readonly id: string;
  readonly end: 'sender' | 'receiver';
  /** The consumers that the message goes to, or the one that has received it. */
  readonly consumers: readonly string[];
  /** The consumers without a receipt. Empty at the receiver. */
  readonly awaiting: readonly string[];
}

/** The consumers in a column such as `,a.b,c.d,`. */
export const consumersIn = (list: unknown): string[] =>
  String(list ?? '')
    .split(',')
    .filter(Boolean);

/** The columns of every entry of a list, beside `scheme` where the rows have one. */
export const VIEW_COLUMNS = ['id', 'gid', 'state', 'attempts', 'next_attempt_at', 'last_error', 'created_at'] as const;

/** A row with the columns that the reader has selected. */
export type TableRow = Record<string, unknown> & { readonly id: string; readonly state: string };

/** A time as the driver read it, and the event. */
export type Moment = readonly [at: unknown, event: string];

/** A condition on the rows of a table, with its values. */
export interface Condition {
  readonly sql: string;
  readonly values: readonly SqlValue[];
}

/** A claimed row. */
export type DurableRow<Extra extends object = object> = Extra & {
  readonly id: string;
  readonly state: string;
  readonly attempts: number;
  readonly claim_token: string;
};
