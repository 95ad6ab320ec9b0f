import { AsyncLocalStorage } from 'node:async_hooks';
import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { TransactionRequired } from '../errors.js';

const current = new AsyncLocalStorage<{ source: DataSource; runner: QueryRunner }>();
const guarded = new WeakSet<DataSource>();

/**
 * Runs business that must stay in one transaction. In development and tests, opening another connection of the same
 * DataSource meanwhile is an error: its effect would not be undone with the barrier. With NODE_ENV=production the check
 * costs nothing.
 * @throws TransactionRequired from the call that strayed
 */
export function guardConnection<T>(source: DataSource, tx: EntityManager, work: () => Promise<T>): Promise<T> {
  if (process.env.NODE_ENV === 'production') return work();
  if (!guarded.has(source)) watch(source);
  return current.run({ source, runner: tx.queryRunner! }, work);
}

function watch(source: DataSource): void {
  guarded.add(source);
  const create = source.createQueryRunner.bind(source);
  source.createQueryRunner = (mode) => {
    if (current.getStore()?.source === source)
      throw new TransactionRequired('SQL of a TCC participant (use the tx that it was given)');
    return create(mode);
  };
}
