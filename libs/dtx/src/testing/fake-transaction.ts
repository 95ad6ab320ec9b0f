// Transactions without a database. A fake transaction looks open to every call that joins one. It stores nothing.
import { EntityManager } from 'typeorm';
import { DtxError, TransactionRequired } from '../core/errors/errors.js';
import type { FakeOptions } from './fake-options.js';

/** The state of one transaction that a fake runs. */
export interface FakeOutcome {
  state: 'open' | 'committed' | 'rolled back';
}

interface FakeRunner {
  isTransactionActive: boolean;
}

/** The runners of the managers of `fakeTransaction`. */
const runners = new WeakMap<EntityManager, FakeRunner>();
/** The current transaction of each manager that a fake runs. */
const outcomes = new WeakMap<EntityManager, FakeOutcome>();

/**
 * An EntityManager for a unit test without a database. The library sees an open transaction. Each method of
 * EntityManager that is not among `members` throws a DtxError that names it.
 * @param members the methods that the code under test calls, such as `{ save: async (row) => row }`
 * @example
 *   const tx = fakeTransaction({ insert: vi.fn() });
 *   await orders.place(tx, purchase);
 */
export function fakeTransaction(members: object = {}): EntityManager {
  const runner: FakeRunner = { isTransactionActive: true };
  const missing = Object.getOwnPropertyNames(EntityManager.prototype).filter((name) => !(name in members));
  const tx = Object.assign(
    Object.create(members),
    Object.fromEntries(missing.map((name) => [name, () => refuse(name)])),
    { queryRunner: runner },
  ) as EntityManager;
  runners.set(tx, runner);
  return tx;
}

function refuse(name: string): never {
  throw new DtxError(`the fake transaction has no \`${name}\`; pass one: fakeTransaction({ ${name}: ... })`);
}

/** @throws TransactionRequired unless `tx` is a fake transaction that is open, or the manager of a real one */
export function requireFakeTransaction(tx: EntityManager, call: string): void {
  if (!tx?.queryRunner?.isTransactionActive) throw new TransactionRequired(call);
}

/** The transaction of `tx`, if a fake runs it. Otherwise its end is not known. */
export function outcomeOf(tx: EntityManager): FakeOutcome | undefined {
  return outcomes.get(tx);
}

/** Runs work in fake transactions, which commit or roll back together. */
export async function inFakeTransactions<T>(txs: readonly EntityManager[], work: () => Promise<T>): Promise<T> {
  const running = txs.map((tx) => begin(tx));
  const end = (state: FakeOutcome['state']) => {
    for (const outcome of running) outcome.state = state;
    for (const tx of txs) setActive(tx, false);
  };
  try {
    const result = await work();
    end('committed');
    return result;
  } catch (error) {
    end('rolled back');
    throw error;
  }
}

/** Runs work in one fake transaction. */
export async function inFakeTransaction<T>(
  { transaction = fakeTransaction }: FakeOptions,
  work: (tx: EntityManager) => Promise<T>,
): Promise<T> {
  const tx = transaction();
  return inFakeTransactions([tx], () => work(tx));
}

/** A test may give the same manager for several transactions, one after the other. */
function begin(tx: EntityManager): FakeOutcome {
  const outcome: FakeOutcome = { state: 'open' };
  outcomes.set(tx, outcome);
  setActive(tx, true);
  return outcome;
}

function setActive(tx: EntityManager, isActive: boolean): void {
  const runner = runners.get(tx);
  if (runner) runner.isTransactionActive = isActive;
}

/**
 * Stands in for a DataSource that only runs transactions. Provide it under the token `DataSource`.
 * @example
 *   { provide: DataSource, useValue: new FakeDataSource({ transaction: () => fakeTransaction({ insert: vi.fn() }) }) }
 */
export class FakeDataSource {
  /** The manager without a transaction. Calls that join a transaction refuse it. */
  readonly manager: EntityManager;

  constructor(private readonly options: FakeOptions = {}) {
    const transaction = (...args: unknown[]) => this.run(args);
    this.manager = fakeTransaction({ transaction });
    setActive(this.manager, false);
  }

  /** As `DataSource.transaction`, with or without an isolation level: commits unless the work throws. */
  transaction<T>(work: (tx: EntityManager) => Promise<T>): Promise<T>;
  transaction<T>(isolation: string, work: (tx: EntityManager) => Promise<T>): Promise<T>;
  transaction<T>(...args: unknown[]): Promise<T> {
    return this.run(args) as Promise<T>;
  }

  private run(args: unknown[]): Promise<unknown> {
    return inFakeTransaction(this.options, args.at(-1) as (tx: EntityManager) => Promise<unknown>);
  }
}
