import { describe, expect, it } from 'vitest';
import { hasColumn, migrationsWith } from './migrate.js';
import { bind } from './sql-literals.js';
import { isTablePrefix, TableNames } from './table-prefix.js';

const names = new TableNames('staging');

describe('the table prefix', () => {
  it.each([
    ['SELECT id FROM dtx_inbox WHERE id = ?', 'SELECT id FROM staging_inbox WHERE id = ?'],
    ['UPDATE `dtx_tcc` SET a = 1', 'UPDATE `staging_tcc` SET a = 1'],
    ['DELETE t, b FROM dtx_tcc t, dtx_tcc_branch b', 'DELETE t, b FROM staging_tcc t, staging_tcc_branch b'],
    ['SELECT dtx_half.id FROM dtx_half', 'SELECT staging_half.id FROM staging_half'],
    ['INSERT INTO `shop`.dtx_outbox (id)', 'INSERT INTO `shop`.staging_outbox (id)'],
    ['INSERT INTO `dtx_shop`.dtx_outbox (id)', 'INSERT INTO `dtx_shop`.staging_outbox (id)'],
    ['INSERT INTO `old-dtx_shop-1`.`dtx_outbox` (id)', 'INSERT INTO `old-dtx_shop-1`.`staging_outbox` (id)'],
    ['INSERT INTO dtx_probe (app) VALUES (?)', 'INSERT INTO staging_probe (app) VALUES (?)'],
  ])('replaces the table names of %s', (statement, expected) => {
    expect(names.inDatabase(statement)).toBe(expected);
  });

  it('replaces the table in a look at information_schema', () => {
    const look = names.inDatabase(hasColumn('dtx_inbox', 'reply_to'));
    expect(look).toContain(`table_name = 'staging_inbox'`);
    expect(look).not.toContain('dtx_');
  });

  it.each([
    'START TRANSACTION; SAVEPOINT dtx_begun',
    'RELEASE SAVEPOINT dtx_begun; COMMIT',
    'ROLLBACK TO SAVEPOINT dtx_probe',
    'SET @dtx_silence = 5',
    'SELECT my_dtx_inbox FROM dtx_ WHERE dtx_1 = 1',
    "SELECT GET_LOCK(CONCAT('dtx-migrate:', DATABASE()), 60)",
  ])('leaves %s as it is', (statement) => {
    expect(names.inDatabase(statement)).toBe(statement);
  });

  it('translates a translated text to itself', () => {
    const once = names.inDatabase('SELECT id FROM dtx_inbox JOIN `db`.dtx_outbox');
    expect(names.inDatabase(once)).toBe(once);
  });

  it('leaves data as it is, because values are bound afterwards', () => {
    const statement = names.inDatabase('INSERT INTO dtx_inbox (body) VALUES (?)');
    expect(bind(statement, ['dtx_inbox'])).toBe(`INSERT INTO staging_inbox (body) VALUES (_utf8mb4'dtx_inbox')`);
  });

  it('dtx changes nothing', () => {
    expect(new TableNames().inDatabase('SELECT 1 FROM dtx_inbox')).toBe('SELECT 1 FROM dtx_inbox');
  });

  it('replaces the names in both statements of a migration', () => {
    const migrations = migrationsWith(names, [
      {
        version: 1,
        name: 'dtx_inbox',
        up: ['CREATE TABLE dtx_x (id INT)', { unless: 'SELECT dtx_x', sql: 'ALTER dtx_x' }],
      },
    ]);
    expect(migrations).toEqual([
      {
        version: 1,
        name: 'dtx_inbox',
        up: ['CREATE TABLE staging_x (id INT)', { unless: 'SELECT staging_x', sql: 'ALTER staging_x' }],
      },
    ]);
  });

  it.each(['a', 'dtx', 'staging', 'dtx2', 'a_b_1', 'abcdefghijklmnop'])('accepts %s', (prefix) => {
    expect(isTablePrefix(prefix)).toBe(true);
  });

  it.each(['', '1a', 'Staging', 'a_', 'a-b', 'dtx_a', 'abcdefghijklmnopq', 'a`b', 'a b'])('refuses "%s"', (prefix) => {
    expect(() => new TableNames(prefix)).toThrow(/invalid tablePrefix .*: expected 1 to 16 of a-z/);
  });
});
