import type { DataSource, EntityManager } from 'typeorm';
import { TransactionRequired } from '../errors/errors.js';
import { isDeadlock } from '../errors/sql-errors.js';
import { ChangeMissed } from './changes-one-row.js';
import type { TransactionGuard } from './guarded-transaction.js';
import { mayBeForAnAnswer } from './held-statements.js';
import { connectionOptionsOf } from './pinned-session-pool.js';
import { guardOf, marked, watch, watchBegin } from './query-runner-guards.js';
import type { GuardOptions } from './transaction-guard-options.js';

/**
 * Checks that a call got the EntityManager of an open transaction. `call` is the name of the call in the error.
 * @throws TransactionRequired unless `tx` is the manager of an open transaction of `source`. A transaction of another
 *   DataSource commits without the rows of the library, so the error names both.
 * @example
 *   requireTransaction(tx, this.dataSource, 'Orders.place');
 */
export function requireTransaction(tx: EntityManager, source: DataSource, call: string): void {
  if (!tx?.queryRunner?.isTransactionActive) throw new TransactionRequired(call);
  const owner = (tx as { dataSource?: DataSource }).dataSource ?? tx.connection;
  if (owner === source) return;
  const [given, needed] = [nameOf(owner), nameOf(source)];
  const which =
    given === needed ? `another DataSource than the one of nest-dtx, both ${needed}` : `DataSource ${given}`;
  throw new TransactionRequired(
    call,
    `${call} got a transaction of ${which}; call it inside a transaction of DataSource ${needed}, which nest-dtx uses`,
  );
}

/** The name of a DataSource, as Nest gives it, with its database. */
function nameOf({ options, driver }: DataSource): string {
  return `${(options as { name?: string }).name ?? 'default'} (database ${driver.database ?? 'unknown'})`;
}

/**
 * Joins and guards the transaction of the caller: library rows commit with all of it or not at all.
 * @throws TransactionRequired as `requireTransaction`
 * @throws TransactionEnded if the transaction has ended
 */
export async function joinTransaction(tx: EntityManager, source: DataSource, call: string): Promise<TransactionGuard> {
  requireTransaction(tx, source, call);
  const guard = guardIn(tx, call);
  await guard.join({ withSavepoint: true });
  return guard;
}

/**
 * Returns the guard of the open transaction of `tx`. A transaction that began before the hooks were attached is watched from now on.
 */
export function guardIn(tx: EntityManager, call: string): TransactionGuard {
  if (!tx?.queryRunner?.isTransactionActive) throw new TransactionRequired(call);
  const guard = guardOf(tx.queryRunner);
  const isOpen = guard?.state === 'watching' || guard?.state === 'guarding';
  return isOpen ? guard : watch(tx.queryRunner);
}

const DEADLOCK_TRIES = 4;

/**
 * Runs a unit of work in a transaction of a DataSource. After a deadlock, or a change of `changesOneRow` that missed, the
 * whole unit runs again, even if the work caught the error. Statements that would end the transaction are rejected.
 * @throws TransactionEnded if a statement ended the transaction, which is rolled back
 * @throws the error of the work, after the rollback. A deadlock is thrown after 4 runs
 * @example
 *   const order = await inTransaction(this.dataSource, (tx) => this.orders.place(tx, purchase));
 */
export async function inTransaction<T>(source: DataSource, work: (tx: EntityManager) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    let guard: TransactionGuard | undefined;
    try {
      return await transactionOf(source, { runsAgain: attempt === 1 }, async (tx) => {
        guard = guardOf(tx.queryRunner!);
        await guard?.join({ withSavepoint: false });
        return await checked(() => work(tx), guard);
      });
    } catch (error) {
      // After a COMMIT the unit never runs again, even if a subscriber fails.
      const mustRunAgain = isDeadlock(error) || guard?.failure instanceof ChangeMissed;
      if (guard?.state === 'committed' || !mustRunAgain || attempt >= DEADLOCK_TRIES) throw error;
    }
  }
}

/** The work may fail because of an answer of `changesOneRow` that was not checked yet. Then that failure counts. */
async function checked<T>(work: () => Promise<T>, guard: TransactionGuard | undefined): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (mayBeForAnAnswer(error)) await guard?.sendUsers();
    throw error;
  }
}

/** Whether the open pool of a DataSource takes several statements in one packet. */
const severalAtOnce = new WeakMap<DataSource, boolean>();

function takesSeveral(source: DataSource): boolean {
  let takes = severalAtOnce.get(source);
  if (takes === undefined) {
    // The stand-in of a test has no driver.
    takes = source.driver !== undefined && connectionOptionsOf(source).multipleStatements === true;
    if (source.isInitialized) severalAtOnce.set(source, takes);
  }
  return takes;
}

/** As `source.transaction`. Where one packet may hold several statements, BEGIN travels with the first statement. */
async function transactionOf<T>(
  source: DataSource,
  options: Pick<GuardOptions, 'runsAgain'>,
  work: (tx: EntityManager) => Promise<T>,
): Promise<T> {
  if (!takesSeveral(source)) return source.transaction(work);
  const runner = source.createQueryRunner();
  try {
    await runner.connect();
    const guard = watchBegin(runner, options);
    try {
      return await runner.manager.transaction(marked(work));
    } finally {
      // A subscriber may fail before the begin.
      if (guard.state === 'beginning') guard.over('rolled back');
    }
  } finally {
    await runner.release();
  }
}
