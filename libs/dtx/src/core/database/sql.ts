import type { EntityManager } from 'typeorm';
import { bind, type SqlValue } from './literal.js';
import type { Changed, Row } from './raw-connection.js';
import { scopeOf } from './scopes.js';

/** Where a statement of the library can be sent: a pool of its own, or a transaction. */
export interface Sql {
  /** Rows, or what was changed: see `READ_AS` for how values come back. */
  query<T = Row[] & Changed>(statement: string, values?: readonly SqlValue[]): Promise<T>;
}

/** The transaction of the caller's as the library sends statements in it: right under any session that the user may have. */
export function sqlOf(tx: EntityManager | Sql): Sql {
  if (!('queryRunner' in tx)) return tx;
  const scope = tx.queryRunner && scopeOf(tx.queryRunner);
  return scope ?? { query: (statement, values) => tx.query(bind(statement, values)) };
}
