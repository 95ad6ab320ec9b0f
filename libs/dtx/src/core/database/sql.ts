import type { SqlValue } from './literal.js';
import type { Changed, Row } from './raw-connection.js';

/** Where a statement of the library can be sent: a pool of its own, or a transaction. */
export interface Sql {
  /** Rows, or what was changed: see `READ_AS` for how values come back. */
  query<T = Row[] & Changed>(statement: string, values?: readonly SqlValue[]): Promise<T>;
}
