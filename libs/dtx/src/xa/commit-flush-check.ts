/** Columns, for any SELECT, that show whether the server flushes a COMMIT before it answers. */
export const FLUSH_COLUMNS = `VERSION() AS server, @@GLOBAL.innodb_flush_log_at_trx_commit AS flush_log,
  @@GLOBAL.log_bin AS log_bin, @@GLOBAL.sync_binlog AS sync_binlog`;

/** Values of `innodb_flush_log_at_trx_commit` with which a COMMIT is on disk before it is answered. */
const FLUSHES = { MySQL: [1], MariaDB: [1, 3] };

/** Null if the server flushes every COMMIT before it answers. Otherwise the wrong setting, with the remedy. */
export function flushFlaw(row: Record<string, unknown>): string | null {
  const [flushLog, syncBinlog] = [Number(row.flush_log), Number(row.sync_binlog)];
  const wrong = FLUSHES[vendorOf(row.server)].includes(flushLog)
    ? Number(row.log_bin) === 1 && syncBinlog !== 1 && `sync_binlog = ${syncBinlog} with log_bin on`
    : `innodb_flush_log_at_trx_commit = ${flushLog}`;
  if (!wrong) return null;
  return `has ${wrong}, not 1: a crash may lose committed transactions; set it to 1, or set xa.acceptUnflushed`;
}

export const vendorOf = (version: unknown) => (/mariadb/i.test(String(version)) ? 'MariaDB' : 'MySQL');
