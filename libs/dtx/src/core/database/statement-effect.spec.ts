import { describe, expect, test } from 'vitest';
import { countStatements, hasStatement, mayStandInFront, statementOf } from './statement-effect.js';

describe('statementOf', () => {
  test.each([
    'SELECT 1',
    '  (SELECT 1) UNION (SELECT 2)',
    "INSERT INTO t VALUES ('a; COMMIT')",
    'update t set n = 1;',
    'WITH x AS (SELECT 1) SELECT * FROM x',
    '/* COMMIT */ SELECT 1 -- COMMIT',
    '# COMMIT\nSELECT 1',
    'ANALYZE FORMAT=JSON SELECT 1',
    "LOAD DATA INFILE 'x' INTO TABLE t",
    'SET STATEMENT max_statement_time=1 FOR SELECT 1',
    '',
    '-- nothing',
  ])('finds nothing in %j that could end the transaction', (text) => {
    expect(statementOf(text).kind).toBe('plain');
  });

  test.each([
    'COMMIT',
    'commit and chain',
    '/*!50000 COMMIT */',
    '/*M!100100 COMMIT */',
    '/*! COMMIT',
    'SELECT 1 /*! ; COMMIT */',
    '/*!50000 /*!50001 COMMIT */',
    '-- a comment\n\tROLLBACK',
    'ROLLBACK WORK',
    'ROLLBACK AND CHAIN',
    'BEGIN',
    'BEGIN WORK',
    'START TRANSACTION WITH CONSISTENT SNAPSHOT',
    "XA START 'x'",
    'CREATE TABLE t (n INT)',
    'CREATE OR REPLACE TABLE t (n INT)',
    'CREATE INDEX i ON t (n)',
    'DROP TABLE t',
    'ALTER TABLE t ADD m INT',
    'TRUNCATE t',
    'RENAME TABLE t TO u',
    'GRANT SELECT ON *.* TO x',
    'LOCK TABLES t WRITE',
    'UNLOCK TABLES',
    'FLUSH TABLES',
    'ANALYZE TABLE t',
    'ANALYZE LOCAL TABLE t',
    'OPTIMIZE TABLE t',
    'LOAD INDEX INTO CACHE t',
    "SET PASSWORD = 'x'",
    'SET DEFAULT ROLE NONE TO x',
    'SET STATEMENT max_statement_time=1 FOR COMMIT',
    "EXECUTE IMMEDIATE 'COMMIT'",
    'UPDATE t SET n = 1; COMMIT',
    "INSERT INTO t VALUES ('it''s'); DROP TABLE t",
  ])('knows that %j would end the transaction', (text) => {
    expect(statementOf(text).kind).toBe('ends');
  });

  test.each([
    'CALL p()',
    'EXECUTE s',
    'EXECUTE IMMEDIATE @sql',
    'BEGIN NOT ATOMIC COMMIT; END',
    'IF 1 THEN COMMIT; END IF',
    'SELECT 1; SELECT 2',
    'SOMETHING new',
  ])('cannot see what %j does inside', (text) => {
    expect(statementOf(text)).toMatchObject({ kind: expect.stringMatching(/opaque|ends/) });
  });

  test.each([
    'SET @x = 1',
    "SET SESSION sql_mode = ''",
    'SET NAMES latin1',
    'CREATE TEMPORARY TABLE t (n INT)',
    'CREATE OR REPLACE TEMPORARY TABLE t (n INT)',
    'DROP TEMPORARY TABLE t',
    "PREPARE s FROM 'SELECT 1'",
  ])('knows that %j stays behind in the session', (text) => {
    expect(statementOf(text).kind).toBe('session');
  });

  test.each(['SET autocommit = 1', 'SET @@SESSION.autocommit=0', 'SET @x = 1, autocommit = ON'])(
    'tells %j from other settings',
    (text) => {
      expect(statementOf(text).kind).toBe('autocommit');
    },
  );

  test('knows that USE takes the tables of a statement from elsewhere', () => {
    expect(statementOf('USE other').kind).toBe('use');
  });

  test('reads the names of savepoints', () => {
    expect(statementOf('SAVEPOINT `A b`')).toEqual({ kind: 'savepoint', name: 'a b' });
    expect(statementOf('RELEASE SAVEPOINT x')).toEqual({ kind: 'release', name: 'x' });
    expect(statementOf('rollback to x')).toEqual({ kind: 'rollback-to', name: 'x' });
    expect(statementOf('ROLLBACK WORK TO SAVEPOINT x ;')).toEqual({ kind: 'rollback-to', name: 'x' });
  });

  test.each([
    ['a space of Unicode begins no comment', 'SELECT 1 --\u00a0; COMMIT', 'ends'],
    ['a control character begins one', 'SELECT 1 --\u0001; COMMIT', 'plain'],
    ['a string goes on behind an escaped line end', "SELECT 'a\\\nb'; COMMIT", 'ends'],
  ])('reads as the servers do that %s', (_, text, kind) => {
    expect(statementOf(text).kind).toBe(kind);
  });

  test('lets a statement stand in front only if nothing in it may hide those behind', () => {
    const inFront = (statement: string, bound = statement) => mayStandInFront(statement, bound);
    expect(inFront("INSERT INTO t VALUES ('; -- # /* it''s')")).toBe(true);
    expect(inFront('INSERT INTO t VALUES (?)', "INSERT INTO t VALUES ('it\\'s -- x')")).toBe(true);
    expect(inFront('INSERT INTO t VALUES (?)', 'INSERT INTO t VALUES (2 -- x)')).toBe(false);
    expect(inFront("INSERT INTO t VALUES ('\\')")).toBe(false);
    expect(inFront('COMMIT')).toBe(false);
  });

  test.each([
    ['SELECT 1', true],
    ['/* trace */ SELECT 1', true],
    [' (SELECT 1)', true],
    ['', false],
    ['-- nothing\n /* at all */', false],
  ])('knows whether %j has a statement', (text, expected) => {
    expect(hasStatement(text)).toBe(expected);
  });

  test('counts statements, not semicolons', () => {
    expect(countStatements("SELECT ';'; -- ;\n /* ; */")).toBe(1);
    expect(countStatements('SELECT 1; SELECT 2;')).toBe(2);
    expect(countStatements("SELECT '\\'; SELECT 2")).toBe(1);
  });
});
