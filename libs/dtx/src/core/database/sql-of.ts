import type { EntityManager } from 'typeorm';
import { bind } from './literal.js';
import { scopeOf } from './scopes.js';
import type { Sql } from './sql.js';

/** Adapts the transaction of the caller for library statements, which are correct under any session of the user. */
export function sqlOf(tx: EntityManager | Sql): Sql {
  if (!('queryRunner' in tx)) return tx;
  const scope = tx.queryRunner && scopeOf(tx.queryRunner);
  return scope ?? { query: (statement, values) => tx.query(bind(statement, values)) };
}
