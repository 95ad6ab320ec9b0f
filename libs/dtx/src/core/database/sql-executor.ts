import type { Changed, Row } from './mysql2-types.js';
import type { SqlValue } from './sql-literals.js';

/** The target of a library statement: a pool of the library, or a transaction. */
export interface Sql {
  /** The error that has ended the transaction, perhaps of a statement that waited. Each later statement throws it. */
  readonly failure?: unknown;
  /** Returns rows, or the number of changes. `readAs` in `library-query.ts` defines the form of the values. */
  query<T = Row[] & Changed>(statement: string, values?: readonly SqlValue[]): Promise<T>;
}

export const isAnswered = (statement: Promise<unknown>): Promise<boolean> =>
  statement.then(
    () => true,
    () => false,
  );
