import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { DtxError } from '../errors/errors.js';
import { Database } from './database.service.js';
import { SharingByName, UNITS_MAX } from './shared-transactions.js';

/** Options of `SharedTransactions.run`. */
export interface SharedTransactionOptions {
  /** The largest number of waiting calls in one transaction, 1 to 100. Default 16. */
  callsPerTransaction?: number;
}

const CALLS_DEFAULT = 16;
const NAME_CHARS_MAX = 100;

/**
 * Transactions that waiting calls of one name share, such as the requests of a busy route. They share its packets and its
 * COMMIT, which is the most expensive part of a short transaction. If the process dies before the COMMIT, no call has an
 * effect, and none was answered.
 */
@Injectable()
export class SharedTransactions {
  /** By the largest number of calls. */
  private readonly sharing = new Map<number, SharingByName>();

  /** @internal */
  constructor(private readonly database: Database) {}

  /**
   * Runs `work` in a transaction that it may share with other waiting calls of the same name, one after the other. A call
   * does not wait for others: it begins at once, and the next transaction takes those that came meanwhile. After any failure
   * everything is rolled back, and each call runs again in its own transaction. So `work` may run again, all its effects
   * must be in `tx`, and it may see the uncommitted rows of the calls before it. docs/library.md has the rules.
   * @param name names the code in errors. Calls with the same name share, so it is a constant such as `place an order`.
   * @throws any error of `work`, with everything rolled back
   * @throws OutcomeUnknown, or the error of the driver, if the answer to COMMIT was lost. Ask, or repeat with the same key.
   * @throws TransactionEnded if a statement ended the transaction, which is rolled back
   * @throws TookTooLong after `handlerTimeoutMs`, with everything rolled back
   * @throws DatabaseUnavailable without a connection, or before the database is open
   * @throws TransactionRequired inside another transaction of the library
   * @throws DtxError for a wrong argument
   * @example
   *   const order = await this.shared.run('place an order', async (tx) => {
   *     const claim = await this.keys.claim(tx, { route: 'POST /orders', key, body, gid: orderId });
   *     return claim.first ? this.orders.place(tx, orderId, body) : this.orders.find(tx, claim.gid);
   *   });
   */
  async run<T>(
    name: string,
    work: (tx: EntityManager) => Promise<T>,
    options: SharedTransactionOptions = {},
  ): Promise<T> {
    const most = mustBeSharedCall(name, work, options);
    return this.database.work.run({
      what: name,
      sharing: this.sharingOf(most).of(name),
      throwsUnknown: true,
      run: (tx) => work(tx),
    });
  }

  private sharingOf(calls: number): SharingByName {
    const sharing = this.sharing.get(calls) ?? new SharingByName(calls);
    this.sharing.set(calls, sharing);
    return sharing;
  }
}

/**
 * Checks the arguments of `SharedTransactions.run`, and returns the largest number of calls.
 * @throws DtxError
 */
export function mustBeSharedCall(name: unknown, work: unknown, options: SharedTransactionOptions): number {
  const { callsPerTransaction: calls = CALLS_DEFAULT } = options;
  if (typeof name !== 'string' || name.length === 0 || name.length > NAME_CHARS_MAX)
    throw new DtxError(`run(name, work) needs a constant name of 1 to ${NAME_CHARS_MAX} characters`);
  if (typeof work !== 'function') throw new DtxError(`run('${name}', work) needs the work as a function`);
  if (!Number.isInteger(calls) || Number(calls) < 1 || Number(calls) > UNITS_MAX)
    throw new DtxError(`run('${name}', work): callsPerTransaction must be an integer from 1 to ${UNITS_MAX}`);
  return calls;
}
