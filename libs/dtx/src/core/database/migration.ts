// The form of a migration, and its usual statements. migrate.ts applies them.

/**
 * One version of a schema. DDL commits implicitly on MySQL and MariaDB, so each statement must be idempotent. If the
 * process dies between two statements, the version is not recorded and the next start repeats all of them. The nodes of
 * a Galera cluster do not share named locks, so another instance may run the same statement at the same time.
 */
export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly up: ReadonlyArray<string | Once>;
  /**
   * The oldest version of a program that may still write after this migration, from 1 to `version`. A program has the
   * version of its newest migration. `1` says that every earlier one may, as after an added column with a default. The
   * value of `version` shuts all of them out. Without a value no earlier program may begin a branch here, because it
   * works in a database of another app. See docs/schema.md.
   */
  readonly compatibleFrom?: number | undefined;
}

/**
 * A statement that is not idempotent, such as ALTER TABLE. `unless` is a SELECT that returns a row after the statement
 * has taken effect. The statement must be atomic. Both servers undo an interrupted ALTER TABLE.
 */
export interface Once {
  readonly unless: string;
  readonly sql: string;
}

/**
 * The `unless` of a statement that adds a column. Names are constants, never input.
 * @example
 *   { unless: hasColumn('orders', 'coupon'), sql: 'ALTER TABLE orders ADD COLUMN coupon CHAR(8) NULL' }
 */
export function hasColumn(table: string, column: string): string {
  return `SELECT 1 AS found FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = '${table}' AND column_name = '${column}'`;
}

/** The `unless` of a statement that adds an index. Names are constants, never input. */
function hasIndex(table: string, index: string): string {
  return `SELECT 1 AS found FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = '${table}' AND index_name = '${index}' LIMIT 1`;
}

/**
 * Adds an index to a table of any size, while other sessions read and write it. The servers lock the table only at the
 * beginning and at the end.
 */
export function addIndexOnce(table: string, index: string, columns: string): Once {
  const sql = `ALTER TABLE ${table} ADD INDEX ${index} (${columns}), ALGORITHM=INPLACE, LOCK=NONE`;
  return { unless: hasIndex(table, index), sql };
}

/**
 * Replaces the columns of an index under the same name. One statement, so the table always has the index.
 * @param columns the new columns, separated by a comma and a space
 * @example
 *   up: [widenIndexOnce('orders', 'by_buyer', 'buyer_id, created_at')]
 */
export function widenIndexOnce(table: string, index: string, columns: string): Once {
  const unless = `SELECT 1 AS found FROM information_schema.statistics WHERE table_schema = DATABASE()
    AND table_name = '${table}' AND index_name = '${index}'
    HAVING GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR ', ') = '${columns}'`;
  const change = `DROP INDEX ${index}, ADD INDEX ${index} (${columns})`;
  return { unless, sql: `ALTER TABLE ${table} ${change}, ALGORITHM=INPLACE, LOCK=NONE` };
}
