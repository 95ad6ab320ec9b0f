// A table of a model database: rows under the library's unique keys, with row locks as InnoDB takes them under READ COMMITTED.

import type { Outcome, Process } from './process.js';
import { DUPLICATE, NOT_NULL, SqlError } from './server-errors.js';
import type { Lock, Row, Statement } from './statements.js';
import { isSameKey } from './unique-keys.js';

export class Transaction {
  isOpen = true;

  constructor(
    readonly process: Process,
    readonly name: string,
  ) {}
}

interface Stored {
  row: Row;
  /** The row as others see it while its writer has not committed. Undefined for a new one. */
  before: Row | undefined;
  writer: Transaction | undefined;
  readonly readers: Set<Transaction>;
}

export class Table {
  private rows: Stored[] = [];

  constructor(private readonly keys: readonly string[][]) {}

  /** For the key of a world. */
  get state(): unknown {
    return this.rows.map((one) => [one.row, one.before, one.writer?.name, [...one.readers].map(({ name }) => name)]);
  }

  get committed(): Row[] {
    return this.rows.flatMap(({ row, before, writer }) => (writer ? (before ? [before] : []) : [row]));
  }

  isHeldBy(one: Transaction): boolean {
    return this.rows.some(({ writer, readers }) => writer === one || readers.has(one));
  }

  /** The transactions whose locks this statement has to wait for. */
  blockers(one: Transaction, statement: Statement, isOverdue: boolean): Transaction[] {
    if (statement.kind === 'select' && statement.lock.mode === 'none') return [];
    const isExclusive =
      statement.kind === 'update' || (statement.kind === 'select' && statement.lock.mode === 'update');
    const touched = this.rows.filter(({ row, before }) =>
      statement.kind === 'insert'
        ? this.keys.some((key) => isSameKey(key, row, statement.row))
        : statement.where(row, isOverdue) || (before !== undefined && statement.where(before, isOverdue)),
    );
    const holders = touched.flatMap(({ writer, readers }) => [
      ...(writer ? [writer] : []),
      ...(isExclusive ? readers : []),
    ]);
    return [...new Set(holders)].filter((holder) => holder !== one);
  }

  apply(one: Transaction, statement: Statement, isOverdue: boolean): Outcome {
    if (statement.kind === 'insert') {
      if (statement.isRefusedLate && isOverdue) return { error: new SqlError(NOT_NULL) };
      return this.insert(one, statement);
    }
    const isPlain = statement.kind === 'select' && statement.lock.mode === 'none';
    const seenBy = ({ row, before, writer }: Stored) => (isPlain && writer && writer !== one ? before : row);
    const found = this.rows.filter((stored) => {
      const row = seenBy(stored);
      return row !== undefined && statement.where(row, isOverdue);
    });
    if (statement.kind === 'select') {
      for (const stored of found) this.lock(one, stored, statement.lock);
      const shown = (row: Row) => Object.fromEntries(statement.columns.map((name) => [name, row[name] ?? null]));
      return { value: found.map((stored) => shown(seenBy(stored)!)) };
    }
    for (const stored of found) {
      this.write(one, stored);
      const { row } = stored;
      const values = Object.entries(statement.set).map(([name, value]) => {
        return [name, typeof value === 'function' ? value(row) : value] as const;
      });
      stored.row = { ...row, ...Object.fromEntries(values) };
    }
    return { value: { affectedRows: found.length } };
  }

  private insert(one: Transaction, { row, isQuiet }: Statement & { kind: 'insert' }): Outcome {
    const isThere = this.rows.some((stored) => this.keys.some((key) => isSameKey(key, stored.row, row)));
    if (isThere) return isQuiet ? { value: { affectedRows: 0 } } : { error: new SqlError(DUPLICATE) };
    this.rows.push({ row, before: undefined, writer: one, readers: new Set() });
    return { value: { affectedRows: 1 } };
  }

  private lock(one: Transaction, stored: Stored, { mode }: Lock): void {
    if (mode === 'share') stored.readers.add(one);
    if (mode === 'update') this.write(one, stored);
  }

  private write(one: Transaction, stored: Stored): void {
    if (stored.writer === one) return;
    stored.before = stored.row;
    stored.writer = one;
  }

  /** Ends the part of a transaction in this table. */
  end(one: Transaction, isCommit: boolean): void {
    if (!isCommit) {
      this.rows = this.rows.filter((stored) => stored.writer !== one || stored.before);
      for (const stored of this.rows) if (stored.writer === one) stored.row = stored.before!;
    }
    for (const stored of this.rows) {
      stored.readers.delete(one);
      if (stored.writer === one) [stored.writer, stored.before] = [undefined, undefined];
    }
  }
}
