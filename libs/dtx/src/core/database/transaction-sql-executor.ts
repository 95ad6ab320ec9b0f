import type { EntityManager } from 'typeorm';
import { guardOf } from './query-runner-guards.js';
import type { Sql } from './sql-executor.js';
import { bind } from './sql-literals.js';

/** Adapts the transaction of the caller for library statements, which are correct under any session of the user. */
export function sqlOf(tx: EntityManager | Sql): Sql {
  // The manager of a DataSource outside a transaction has no query runner.
  if (!('getRepository' in tx)) return tx;
  const guard = tx.queryRunner && guardOf(tx.queryRunner);
  return guard ?? { query: (statement, values) => tx.query(bind(statement, values)) };
}
