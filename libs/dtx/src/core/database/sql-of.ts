import type { EntityManager } from 'typeorm';
import { bind } from './literal.js';
import { scopeOf } from './scopes.js';
import type { Sql } from './sql.js';

/** The transaction of the caller's as the library sends statements in it: right under any session that the user may have. */
export function sqlOf(tx: EntityManager | Sql): Sql {
  if (!('queryRunner' in tx)) return tx;
  const scope = tx.queryRunner && scopeOf(tx.queryRunner);
  return scope ?? { query: (statement, values) => tx.query(bind(statement, values)) };
}
