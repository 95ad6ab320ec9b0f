import type { SqlValue } from './literal.js';
import type { Changed, Row } from './raw-connection.js';

/** The target of a library statement: a pool of the library, or a transaction. */
export interface Sql {
  /** Returns rows, or the number of changes. `READ_AS` in `tap.ts` defines the form of the values. */
  query<T = Row[] & Changed>(statement: string, values?: readonly SqlValue[]): Promise<T>;
}
