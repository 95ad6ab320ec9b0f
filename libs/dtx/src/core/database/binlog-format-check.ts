/** Lists the settings for `binlogFlaw`. A server without one of them omits its row. */
export const BINLOG_SQL = `SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format')`;

/**
 * Null if the sessions of the library can write. Otherwise the wrong setting, with the remedy. They are READ COMMITTED,
 * and InnoDB refuses each write of such a session to a binary log of statements (error 1665).
 */
export function binlogFlaw(settings: ReadonlyArray<Record<string, unknown>>): string | null {
  const settingOf = (wanted: string) =>
    String(settings.find(({ Variable_name: name }) => name === wanted)?.Value ?? '').toUpperCase();
  if (settingOf('log_bin') !== 'ON' || settingOf('binlog_format') !== 'STATEMENT') return null;
  return (
    'the server has binlog_format = STATEMENT with log_bin on: InnoDB refuses every write of a READ COMMITTED session; ' +
    'set binlog_format to ROW or MIXED'
  );
}
