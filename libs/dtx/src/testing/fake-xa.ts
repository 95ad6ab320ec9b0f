import type { EntityManager } from 'typeorm';
import { OptionsError, textOf } from '../core/errors/errors.js';
import { assertGid, newId } from '../core/ids.js';
import { libraryLogger } from '../core/library-logger.js';
import { checkBranchNames } from '../xa/branch-name-check.js';
import { type Xa, type XaRun, XaUnavailable } from '../xa/index.js';
import { appOf, type FakeOptions, type PublicOf } from './fake-options.js';
import { fakeTransaction, inFakeTransactions } from './fake-transaction.js';

/** Options of `FakeXa`. */
export interface FakeXaOptions extends FakeOptions {
  /** The names of the branch databases. Without it every name is accepted. */
  readonly branches?: readonly string[];
  /** The EntityManager of a database, by name. The default is a fake transaction for each run. */
  readonly managers?: Readonly<Record<string, EntityManager>>;
}

/** A committed transaction. */
export interface CommittedXa {
  readonly gid: string;
  readonly names: readonly string[];
}

/**
 * Fake of `Xa`: runs the work with fake transactions, which commit or roll back together.
 * @example
 *   { provide: Xa, useValue: new FakeXa({ app: 'order', branches: ['payment', 'inventory'] }) }
 */
export class FakeXa implements PublicOf<Xa> {
  private readonly logger = libraryLogger('FakeXa');
  private readonly done: CommittedXa[] = [];
  private readonly running = new Set<Promise<unknown>>();
  private hook: ((gid: string) => Promise<void>) | undefined;
  private isDraining = false;

  constructor(private readonly options: FakeXaOptions = {}) {}

  /**
   * Runs the work. The transaction counts as committed unless it throws.
   * @throws DtxError for a name outside `branches`, given twice, or without a branch. XaUnavailable after `drain`.
   * @throws the error of the work
   */
  async run<Name extends string, T>(
    names: readonly Name[],
    work: (managers: Record<Name, EntityManager>) => Promise<T>,
    { gid = newId() }: XaRun = {},
  ): Promise<T> {
    assertGid(gid);
    if (this.isDraining) throw new XaUnavailable('cannot begin an XA transaction: the app is stopping');
    const app = appOf(this.options);
    checkBranchNames(names, { app, branches: this.options.branches ?? names.filter((name) => name !== app) });
    // The own database always takes part, as the last resource.
    const all = [...new Set<string>([app, ...names])];
    const managers = Object.fromEntries(all.map((name) => [name, this.managerOf(name)]));
    const ended = this.runNow({ gid, names }, managers, () => work(managers as Record<Name, EntityManager>));
    this.running.add(ended);
    return ended.finally(() => this.running.delete(ended));
  }

  /** @throws OptionsError when a hook is set already */
  beforeDone(hook: (gid: string) => Promise<void>): void {
    if (this.hook) throw new OptionsError('xa.beforeDone is set twice; combine both hooks into one');
    this.hook = hook;
  }

  /** Refuses new transactions. Resolves when the running ones have ended. */
  async drain(): Promise<void> {
    this.isDraining = true;
    await Promise.allSettled(this.running);
  }

  /** The committed transactions, oldest first. */
  committed(): CommittedXa[] {
    return [...this.done];
  }

  /** Forgets all transactions. The hook stays. */
  clear(): void {
    this.done.length = 0;
  }

  private async runNow<T>(
    { gid, names }: CommittedXa,
    managers: Record<string, EntityManager>,
    work: () => Promise<T>,
  ): Promise<T> {
    const result = await inFakeTransactions(Object.values(managers), work);
    this.done.push({ gid, names: [...names] });
    await this.runHook(gid);
    return result;
  }

  private managerOf(name: string): EntityManager {
    const { managers = {}, transaction = fakeTransaction } = this.options;
    return managers[name] ?? transaction();
  }

  /** The library would retry a failing hook. The outcome of the transaction stays. */
  private async runHook(gid: string): Promise<void> {
    try {
      await this.hook?.(gid);
    } catch (error) {
      this.logger.error(`xa.beforeDone of ${gid} failed (the transaction is committed): ${textOf(error)}`);
    }
  }
}
