import { AsyncResource } from 'node:async_hooks';
import type { Statement } from './statement-effect.js';

export type OnSavepoint = Extract<Statement, { name: string }>;
export type Hook = () => Promise<void>;

/**
 * A dependent of the transaction: `afterCommit` runs after its commit, `afterEarlyCommit` undoes a part that was
 * committed early.
 */
export interface Dependent {
  readonly afterCommit?: Hook;
  readonly afterEarlyCommit?: Hook;
}

/** A hook keeps the async context of its unit, since another one may end the transaction. `AsyncResource.bind` is slow. */
function inContextOfUnit(dependent: Dependent, afterCommit: Hook): Dependent {
  const unit = new AsyncResource('dtx-hook');
  return { ...dependent, afterCommit: () => unit.runInAsyncScope(afterCommit) };
}

export const isOnSavepoint = (statement: Statement): statement is OnSavepoint => 'name' in statement;

/**
 * The savepoints of a transaction in order, with the dependents that joined after each of them. It follows the
 * statements, so nested transactions of TypeORM and plain SQL behave alike. ROLLBACK TO a savepoint forgets the hooks
 * that joined after it, so none runs for work that was undone.
 */
export class Savepoints {
  private readonly set: Array<{ name: string; dependents: number }> = [];
  private readonly dependents: Dependent[] = [];

  get count(): number {
    return this.set.length;
  }

  has(name: string): boolean {
    return this.set.some((one) => one.name === name);
  }

  add(name: string): void {
    const before = this.set.findIndex((one) => one.name === name);
    if (before >= 0) this.set.splice(before, 1);
    this.set.push({ name, dependents: this.dependents.length });
  }

  depend(dependent: Dependent): void {
    this.dependents.push(dependent.afterCommit ? inContextOfUnit(dependent, dependent.afterCommit) : dependent);
  }

  takeDependents(): Dependent[] {
    return this.dependents.splice(0);
  }

  takeHooks(): Hook[] {
    const hooks = this.takeDependents().map(({ afterCommit }) => afterCommit);
    return hooks.filter((hook) => hook !== undefined);
  }

  /**
   * Follows an executed statement. ROLLBACK TO drops the dependents that joined after the savepoint. RELEASE keeps
   * them. An unknown savepoint counts as the first of all.
   */
  follow({ kind, name }: OnSavepoint): void {
    if (kind === 'savepoint') {
      this.add(name);
      return;
    }
    const at = this.set.findLastIndex((one) => one.name === name);
    if (kind === 'rollback-to')
      this.dependents.length = Math.min(this.dependents.length, this.set[at]?.dependents ?? 0);
    this.set.length = Math.max(0, kind === 'release' ? at : at + 1);
  }
}
