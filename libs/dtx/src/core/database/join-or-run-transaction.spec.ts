import { DataSource, type EntityManager } from 'typeorm';
import { expect, it } from 'vitest';
import { TransactionRequired } from '../errors/errors.js';
import { requireTransaction } from './join-or-run-transaction.js';

const named = (name: string, database: string) =>
  new DataSource({ type: 'mysql', name, url: `mysql://user:hunter2@db:3306/${database}` } as never);
const [orders, reports] = [named('orders', 'shop'), named('reports', 'archive')];

/** The manager of an open transaction, without a server. */
function transactionOf(source: DataSource, isOpen = true): EntityManager {
  const runner = source.createQueryRunner();
  Object.assign(runner, { isTransactionActive: isOpen });
  return runner.manager;
}

const errorOf = (tx: EntityManager) => {
  try {
    requireTransaction(tx, orders, 'LocalMessages.append');
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(TransactionRequired);
    return (error as Error).message;
  }
};

it('accepts an open transaction of the DataSource', () => {
  expect(errorOf(transactionOf(orders))).toBeUndefined();
});

it('refuses a manager without a transaction', () => {
  const text = /^LocalMessages\.append needs the EntityManager of an open transaction/;
  expect(errorOf(orders.manager)).toMatch(text);
  expect(errorOf(transactionOf(orders, false))).toMatch(text);
});

it('refuses a transaction of another DataSource with the names of both and their databases', () => {
  expect(errorOf(transactionOf(reports))).toBe(
    'LocalMessages.append got a transaction of DataSource reports (database archive); call it inside a transaction of ' +
      'DataSource orders (database shop), which nest-dtx uses',
  );
});

it('says that a DataSource of the same name is another one', () => {
  expect(errorOf(transactionOf(named('orders', 'shop')))).toMatch(
    /a transaction of another DataSource than the one of nest-dtx, both orders \(database shop\)/,
  );
});
