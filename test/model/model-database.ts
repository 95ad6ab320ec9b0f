// A database of a model: tables, and transactions that a crash rolls back. Every statement is one step of the world.
import type { Migration } from '../../libs/dtx/src/core/database/migrate.js';
import type { Sql } from '../../libs/dtx/src/core/database/sql-executor.js';
import type { SqlValue } from '../../libs/dtx/src/core/database/sql-literals.js';
import type { Outcome, Process } from './process.js';
import { ConnectionLost, DEADLOCK, DUPLICATE, LOCK_WAIT, SqlError } from './server-errors.js';
import { labelOf, type Row, read, type Statement } from './statements.js';
import { Table, Transaction } from './table.js';
import { keysOf } from './unique-keys.js';
import type { World } from './world.js';

/** A table without a key: one row per effect of the business. */
const EFFECTS = 'effect';

/** The part of the library's `Unit` that the protocols use. */
interface Unit<T> {
  readonly first?: { readonly statement: string; readonly values: readonly SqlValue[]; readonly ifThere: () => Error };
  readonly run: (tx: never, guard: never, answers: readonly unknown[]) => Promise<T>;
}

export class ModelDatabase {
  private readonly tables = new Map<string, Table>();
  private readonly open = new Set<Transaction>();
  private readonly waitsFor = new Map<Transaction, () => Transaction[]>();
  /** Whether deadlines have passed by the clock of this database. */
  isOverdue = false;

  constructor(
    private readonly world: World,
    private readonly name: string,
    migrations: readonly Migration[],
  ) {
    for (const [table, keys] of keysOf(migrations)) this.tables.set(table, new Table(keys));
    this.tables.set(EFFECTS, new Table([]));
    world.onCrash((process) => {
      for (const one of [...this.open]) if (one.process === process && !this.survivesCrash(one)) this.end(one, false);
    });
    world.hold(() => [name, this.isOverdue, [...this.tables.values()].map(({ state }) => state)]);
  }

  /** For a branch of XA that is prepared. */
  protected survivesCrash(_: Transaction): boolean {
    return false;
  }

  /** Committed rows, for conditions of waits and for invariants. */
  rows(table: string): Row[] {
    return this.table(table).committed;
  }

  isLocked(table: string): boolean {
    return [...this.open].some((one) => this.table(table).isHeldBy(one));
  }

  effects(what: string): number {
    return this.rows(EFFECTS).filter((row) => row.what === what).length;
  }

  /** A library pool or a pool of the app: each statement commits by itself. */
  pool(process: Process): Sql & { transaction<T>(work: (sql: Sql) => Promise<T>): Promise<T> } {
    return {
      query: (statement, values) => this.step(this.begin(process), statement, values, true),
      transaction: (work) => this.transaction(process, work),
    };
  }

  /** A statement within another step, on rows that no transaction holds. */
  immediately(process: Process, statement: string, values: readonly SqlValue[]): void {
    const one = this.begin(process);
    this.apply(one, read(statement, values));
    this.end(one, true);
  }

  /** Runs the work again after a deadlock, as the library does. */
  async transaction<T>(process: Process, work: (sql: Sql) => Promise<T>): Promise<T> {
    const one = this.begin(process);
    try {
      const result = await work({ query: (statement, values) => this.step(one, statement, values, false) });
      await this.commit(one);
      return result;
    } catch (error) {
      this.end(one, false);
      if ((error as SqlError).errno === DEADLOCK) return this.transaction(process, work);
      throw error;
    }
  }

  /** `database.work.run` of the library. */
  run<T>(process: Process, { first, run }: Unit<T>): Promise<T> {
    return this.transaction(process, async (sql) => {
      if (first)
        await sql.query(first.statement, first.values).catch((error: SqlError) => {
          throw error.errno === DUPLICATE ? first.ifThere() : error;
        });
      const guard = { ...sql, depend: () => {}, defer: sql.query };
      return run(guard as never, guard as never, []);
    });
  }

  protected begin(process: Process): Transaction {
    const one = new Transaction(process, process.nextName('at'));
    this.open.add(one);
    const other = process.holds;
    process.holds = () => other() || (one.isOpen && [...this.tables.values()].some((table) => table.isHeldBy(one)));
    return one;
  }

  private commit(one: Transaction): Promise<void> {
    const label = `COMMIT at ${this.name}`;
    const commit = (outcome: Outcome) => () => {
      this.end(one, true);
      return outcome;
    };
    const lost = { label: `${label}, its answer is lost`, take: commit({ error: new ConnectionLost() }) };
    const step = { label, isEnabled: () => true, take: commit({ value: undefined }), faults: () => [lost] };
    return one.process.step(step);
  }

  protected end(one: Transaction, isCommit: boolean): void {
    if (!one.isOpen) return;
    one.isOpen = false;
    this.open.delete(one);
    this.waitsFor.delete(one);
    for (const table of this.tables.values()) table.end(one, isCommit);
  }

  protected step<T>(one: Transaction, text: string, values: readonly SqlValue[] = [], isAlone: boolean): Promise<T> {
    const statement = this.read(text, values);
    // A row of the business is invisible to others before its commit.
    if (statement.table === EFFECTS) return Promise.resolve(this.apply(one, statement)) as Promise<T>;
    const label = `${this.name}: ${labelOf(statement)}`;
    const blocked = () => this.table(statement.table).blockers(one, statement, this.isOverdue);
    const isNowait = statement.kind === 'select' && statement.lock.isNowait;
    this.waitsFor.set(one, blocked);
    const ended = (outcome: Outcome): Outcome => {
      if (isAlone) this.end(one, !('error' in outcome));
      return outcome;
    };
    const failed = (errno: number) => {
      this.waitsFor.delete(one);
      return ended({ error: new SqlError(errno) });
    };
    return one.process.step<T>({
      label,
      isEnabled: () => isNowait || blocked().length === 0 || this.isDeadlock(one, blocked()),
      take: () => {
        this.waitsFor.delete(one);
        if (blocked().length > 0) return failed(isNowait ? LOCK_WAIT : DEADLOCK);
        return ended(this.apply(one, statement));
      },
      faults: () => {
        if (!isNowait && blocked().length > 0)
          return [{ label: `${label}, the lock wait times out`, take: () => failed(LOCK_WAIT), isInTheEnd: true }];
        if (!isAlone || statement.kind === 'select') return [];
        const take = () => {
          ended(this.apply(one, statement));
          return { error: new ConnectionLost() };
        };
        return [{ label: `${label}, its answer is lost`, take }];
      },
    });
  }

  /** The code under test may catch every error, so an unknown statement is also a failure of the world. */
  private read(text: string, values: readonly SqlValue[]): Statement {
    try {
      return read(text, values);
    } catch (error) {
      this.world.failure ??= String(error);
      throw error;
    }
  }

  /** Two transactions that wait for each other. The server ends the one that closes the circle. */
  private isDeadlock(one: Transaction, blockers: readonly Transaction[]): boolean {
    return blockers.some((other) => this.waitsFor.get(other)?.().includes(one));
  }

  private apply(one: Transaction, statement: Statement): Outcome {
    return this.table(statement.table).apply(one, statement, this.isOverdue);
  }

  private table(name: string): Table {
    const table = this.tables.get(name);
    if (!table) throw new Error(`the model has no table ${name}`);
    return table;
  }
}
