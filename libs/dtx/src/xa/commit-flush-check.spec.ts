import { describe, expect, it } from 'vitest';
import { flushFlaw } from './commit-flush-check.js';

const MYSQL = '9.7.0';
const MARIADB = '11.8.3-MariaDB-log';
const row = (server: string, flush_log: number, log_bin: number, sync_binlog: number) => ({
  server,
  flush_log,
  log_bin,
  sync_binlog,
});

describe('flushFlaw', () => {
  it.each([
    ['MySQL with both flushes', row(MYSQL, 1, 1, 1)],
    ['MySQL without a binary log, whatever sync_binlog is', row(MYSQL, 1, 0, 0)],
    ['MariaDB with both flushes', row(MARIADB, 1, 1, 1)],
    ['MariaDB with innodb_flush_log_at_trx_commit = 3', row(MARIADB, 3, 0, 0)],
  ])('finds none in %s', (_, server) => {
    expect(flushFlaw(server)).toBeNull();
  });

  it.each([
    ['MySQL with innodb_flush_log_at_trx_commit = 2', row(MYSQL, 2, 0, 1), 'innodb_flush_log_at_trx_commit = 2'],
    ['MySQL with innodb_flush_log_at_trx_commit = 3', row(MYSQL, 3, 0, 1), 'innodb_flush_log_at_trx_commit = 3'],
    ['MariaDB with innodb_flush_log_at_trx_commit = 0', row(MARIADB, 0, 1, 1), 'innodb_flush_log_at_trx_commit = 0'],
    ['a binary log that is flushed now and then', row(MYSQL, 1, 1, 1_000), 'sync_binlog = 1000'],
    ['a binary log that is never flushed', row(MARIADB, 1, 1, 0), 'sync_binlog = 0'],
  ])('names the variable and its value for %s', (_, server, flaw) => {
    expect(flushFlaw(server)).toContain(flaw);
  });

  it('reads numbers that a driver returns as text', () => {
    expect(flushFlaw({ server: MYSQL, flush_log: '1', log_bin: '1', sync_binlog: '1' })).toBeNull();
    expect(flushFlaw({ server: MYSQL, flush_log: '1', log_bin: '1', sync_binlog: '0' })).toContain('sync_binlog = 0');
  });
});
