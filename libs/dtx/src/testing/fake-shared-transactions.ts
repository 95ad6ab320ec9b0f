import type { EntityManager } from 'typeorm';
import {
  mustBeSharedCall,
  type SharedTransactionOptions,
  type SharedTransactions,
} from '../core/database/transactions-of-callers.js';
import type { FakeOptions, PublicOf } from './fake-options.js';
import { inFakeTransaction } from './fake-transaction.js';

/**
 * Fake of `SharedTransactions`: runs each call in a fake transaction of its own, which commits unless the work throws.
 * @example
 *   { provide: SharedTransactions, useValue: new FakeSharedTransactions({ transaction: () => fakeTransaction({ insert }) }) }
 */
export class FakeSharedTransactions implements PublicOf<SharedTransactions> {
  constructor(private readonly options: FakeOptions = {}) {}

  /** @throws DtxError as `SharedTransactions.run`, and any error of `work` */
  async run<T>(
    name: string,
    work: (tx: EntityManager) => Promise<T>,
    options: SharedTransactionOptions = {},
  ): Promise<T> {
    mustBeSharedCall(name, work, options);
    return inFakeTransaction(this.options, work);
  }
}
