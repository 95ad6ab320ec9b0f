/** The current database time in milliseconds since the epoch, as SQL. */
export const NOW_MS = msOf('UTC_TIMESTAMP(3)');

/**
 * A DATETIME expression in milliseconds since the epoch, as SQL. A value read as a Date would depend on the time zone
 * of the DataSource.
 */
export function msOf(expression: string): string {
  return `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ${expression}) DIV 1000`;
}
