import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { DtxError } from '../errors/errors.js';
import { Database } from './database.service.js';
import { type Sharing, sharingOf, UNITS_MAX } from './shared-transactions.js';

/** Options of `SharedTransactions.run`. */
export interface SharedTransactionOptions {
  /** The largest number of waiting calls in one transaction, 1 to 100. Default 16. */
  callsPerTransaction?: number;
}

const CALLS_DEFAULT = 16;
const NAME_CHARS_MAX = 100;
/** Names are constants. More of them are made of values, and would fill the memory. */
const NAMES_MAX = 1_000;
/** All calls take at most half of the connections of the work pool, as one consumer does. */
const PLACE = 'calls of SharedTransactions';

/**
 * Transactions that waiting calls of one name share, such as the requests of a busy route. They share its packets and its
 * COMMIT, which is the most expensive part of a short transaction. If the process dies before the COMMIT, no call has an
 * effect, and none was answered.
 */
@Injectable()
export class SharedTransactions {
  private readonly byName = new Map<string, { readonly most: number; readonly sharing: Sharing | undefined }>();

  /** @internal */
  constructor(private readonly database: Database) {}

  /**
   * Runs `work` in a transaction that it may share with other waiting calls of the same name, one after the other. A call
   * that meets no transaction of its name begins at once. The next transaction takes those that came meanwhile. If one of
   * them fails, everything is rolled back, and each runs again in its own transaction. So `work` may run again, all its
   * effects must be in `tx`, and it may see the uncommitted rows of the calls before it. A call is answered after the COMMIT
   * of all, so `work` is short and calls no other service. docs/library.md has the rules.
   * @param name names the code in errors. Calls with the same name share, so it is a constant such as `place an order`.
   * @throws any error of `work`, with everything rolled back
   * @throws OutcomeUnknown, or the error of the driver, if the answer to COMMIT was lost. Ask, or repeat with the same key.
   * @throws TransactionEnded if a statement ended the transaction. With `isCommittedInPart`, each call of it gets that error.
   * @throws TookTooLong after `handlerTimeoutMs` in its own transaction, with everything rolled back
   * @throws DatabaseUnavailable without a connection, or before the database is open
   * @throws TransactionRequired inside another transaction of the library
   * @throws DtxError for a wrong argument
   * @example
   *   const order = await this.shared.run('place an order', async (tx) => {
   *     const claim = await this.keys.claim(tx, { route: 'POST /orders', caller, key, body, gid: orderId });
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
      consumer: PLACE,
      sharing: this.sharingOf(name, most),
      throwsUnknown: true,
      run: (tx) => work(tx),
    });
  }

  private sharingOf(name: string, most: number): Sharing | undefined {
    const known = this.byName.get(name);
    if (known && known.most !== most)
      throw new DtxError(`run('${name}', work) has callsPerTransaction ${most} here and ${known.most} elsewhere`);
    if (known) return known.sharing;
    if (this.byName.size >= NAMES_MAX)
      throw new DtxError(
        `run('${name}', work): more than ${NAMES_MAX} names; a name is a constant of one place in the code`,
      );
    const sharing = sharingOf(most);
    this.byName.set(name, { most, sharing });
    return sharing;
  }
}

/**
 * Checks the arguments of `SharedTransactions.run`, and returns the largest number of calls.
 * @throws DtxError
 */
export function mustBeSharedCall(name: unknown, work: unknown, options: SharedTransactionOptions): number {
  if (typeof options !== 'object' || options === null) throw new DtxError('run(name, work, options) needs an object');
  const { callsPerTransaction: calls = CALLS_DEFAULT } = options;
  if (typeof name !== 'string' || name.length === 0 || name.length > NAME_CHARS_MAX)
    throw new DtxError(`run(name, work) needs a constant name of 1 to ${NAME_CHARS_MAX} characters`);
  if (typeof work !== 'function') throw new DtxError(`run('${name}', work) needs the work as a function`);
  if (!Number.isInteger(calls) || Number(calls) < 1 || Number(calls) > UNITS_MAX)
    throw new DtxError(`run('${name}', work): callsPerTransaction must be an integer from 1 to ${UNITS_MAX}`);
  return calls;
}
