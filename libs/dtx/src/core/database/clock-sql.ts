/** Now, in milliseconds since the epoch, by the clock of the database. */
export const NOW_MS = msOf('UTC_TIMESTAMP(3)');

/**
 * A DATETIME expression in milliseconds since the epoch, as SQL: read as a Date it would depend on the time zone that the
 * DataSource was given.
 */
export function msOf(expression: string): string {
  return `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ${expression}) DIV 1000`;
}
