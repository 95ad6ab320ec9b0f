import type { Statement } from './statement.js';

export type OnSavepoint = Extract<Statement, { name: string }>;
export type Hook = () => Promise<void>;

/** What depends on the transaction: done after its commit, or undone when a part of it was committed early. */
export interface Dependent {
  readonly afterCommit?: Hook;
  readonly afterEarlyCommit?: Hook;
}

export const isOnSavepoint = (statement: Statement): statement is OnSavepoint => 'name' in statement;

/**
 * The savepoints of a transaction, in the order in which they were set, and what depends on the transaction since. Kept by
 * the statements, so that those of TypeORM's nested transactions and those of plain SQL are the same.
 */
export class Savepoints {
  private readonly set: Array<{ name: string; dependents: number }> = [];
  private readonly dependents: Dependent[] = [];

  has(name: string): boolean {
    return this.set.some((one) => one.name === name);
  }

  add(name: string): void {
    const before = this.set.findIndex((one) => one.name === name);
    if (before >= 0) this.set.splice(before, 1);
    this.set.push({ name, dependents: this.dependents.length });
  }

  depend(dependent: Dependent): void {
    this.dependents.push(dependent);
  }

  takeDependents(): Dependent[] {
    return this.dependents.splice(0);
  }

  /**
   * A statement was carried out. What has joined since a savepoint goes with a rollback to it; with a release it belongs to
   * what is around. One that was set before anybody looked is the first of all.
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
