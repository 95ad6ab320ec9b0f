/**
 * How long a change of a table waits for the transactions that use it. While it waits, everybody who wants to use the
 * table waits behind it, so it gives up soon: the start that runs it tries again.
 */
const TABLE_WAIT_SECONDS = 5;

/** What must not be there yet, or the change was made before. */
export type Missing = { readonly column: string } | { readonly index: string };

/**
 * A change of a table as statements of a migration that may run again: MySQL has no IF NOT EXISTS for columns and
 * indexes. `change` is what follows `ALTER TABLE <table>`. Names and change are literals of the caller, never input.
 */
export function alterOnce(table: string, missing: Missing, change: string): string[] {
  const [view, column, name] =
    'column' in missing ? ['COLUMNS', 'column_name', missing.column] : ['STATISTICS', 'index_name', missing.index];
  const isThere = `SELECT COUNT(*) FROM information_schema.${view}
    WHERE table_schema = DATABASE() AND table_name = '${table}' AND ${column} = '${name}'`;
  return [
    `SET @dtx_wait = @@SESSION.lock_wait_timeout, @@SESSION.lock_wait_timeout = ${TABLE_WAIT_SECONDS}`,
    `SET @dtx_change = IF((${isThere}) > 0, 'DO 0', 'ALTER TABLE ${table} ${change.replaceAll("'", "''")}')`,
    'PREPARE dtx_change FROM @dtx_change',
    'EXECUTE dtx_change',
    'DEALLOCATE PREPARE dtx_change',
    'SET @@SESSION.lock_wait_timeout = @dtx_wait',
  ];
}

/**
 * An index for a table of any size: both servers build it while others read and write the table, which costs them a lock
 * of the table at its beginning and at its end.
 */
export function addIndexOnce(table: string, index: string, columns: string): string[] {
  return alterOnce(table, { index }, `ADD INDEX ${index} (${columns}), ALGORITHM=INPLACE, LOCK=NONE`);
}
