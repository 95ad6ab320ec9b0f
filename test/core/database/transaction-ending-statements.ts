import { createConnection } from 'mysql2/promise';
import type { EntityManager, QueryRunner } from 'typeorm';
import { statementsNow } from '../../fixtures/running-statements.js';
import { type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

/** Something that a unit of work does between its first and its second step. */
export interface Way {
  readonly name: string;
  /** A statement of it fails. */
  readonly fails?: true;
  run(tx: EntityManager, sandbox: Sandbox): Promise<unknown>;
}

interface Raw {
  promise(): {
    query(text: string): Promise<unknown>;
    execute(text: string): Promise<unknown>;
    commit(): Promise<void>;
  };
  release(): void;
  prepare(
    text: string,
    done: (error: unknown, statement: Raw & { execute(done: (error: unknown) => void): void }) => void,
  ): void;
}
const runnerOf = (tx: EntityManager): QueryRunner => tx.queryRunner!;
const rawOf = async (tx: EntityManager): Promise<Raw> => runnerOf(tx).connect();
const text = (statement: string): Way => ({ name: statement, run: (tx) => tx.query(statement) });

/** Tables and procedures that the ways use, in the database of `payment`. */
export async function prepareWays(sandbox: Sandbox): Promise<void> {
  await sql(sandbox, 'payment', 'CREATE TABLE acc (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB');
  const ids = Array.from({ length: 300 }, (_, index) => `(${index + 1}, 0)`).join(', ');
  await sql(sandbox, 'payment', `INSERT INTO acc VALUES ${ids}`);
  await sql(sandbox, 'payment', 'CREATE PROCEDURE commits() COMMIT');
  await sql(sandbox, 'payment', 'CREATE PROCEDURE commits_and_begins() BEGIN COMMIT; START TRANSACTION; END');
  await sql(sandbox, 'payment', 'CREATE PROCEDURE harmless() BEGIN DO 1; END');
}

/** Would end the transaction, and can be told so before they are sent. */
export const ENDING: readonly Way[] = [
  text('COMMIT'),
  text('/*! COMMIT */'),
  text('COMMIT AND CHAIN'),
  text('ROLLBACK'),
  text('ROLLBACK AND CHAIN'),
  text('BEGIN'),
  text('START TRANSACTION'),
  text('CREATE TABLE IF NOT EXISTS journal (id INT)'),
  text('TRUNCATE TABLE nothing'),
  text('ALTER TABLE nothing ADD COLUMN IF NOT EXISTS m INT'),
  text('DROP TABLE IF EXISTS journal'),
  text('LOCK TABLES acc READ'),
  text('FLUSH TABLES'),
  text('ANALYZE TABLE acc'),
  { name: 'queryRunner.commitTransaction', run: (tx) => runnerOf(tx).commitTransaction() },
  { name: 'queryRunner.rollbackTransaction', run: (tx) => runnerOf(tx).rollbackTransaction() },
  { name: 'COMMIT on the raw connection', run: async (tx) => (await rawOf(tx)).promise().query('COMMIT') },
  { name: 'commit() of the raw connection', run: async (tx) => (await rawOf(tx)).promise().commit() },
  { name: 'COMMIT executed on the raw connection', run: async (tx) => (await rawOf(tx)).promise().execute('COMMIT') },
  {
    name: 'COMMIT prepared on the raw connection',
    run: async (tx) => {
      const raw = await rawOf(tx);
      await new Promise<void>((resolve, reject) => {
        raw.prepare('COMMIT', (error, statement) => {
          if (error) reject(error);
          else statement.execute((refused) => (refused ? reject(refused) : resolve()));
        });
      });
    },
  },
  { name: 'queryRunner.clearTable', run: (tx) => runnerOf(tx).clearTable('nothing') },
];

/** End it inside a statement. Only the answer of the server shows it. */
export const HIDDEN: readonly Way[] = [
  text('CALL commits()'),
  text('CALL commits_and_begins()'),
  {
    name: 'EXECUTE of a prepared COMMIT',
    run: async (tx) => {
      await tx.query(`PREPARE hidden FROM 'COMMIT'`);
      await tx.query('EXECUTE hidden');
    },
  },
];

/** Look dangerous and are not. */
export const HARMLESS: readonly Way[] = [
  text('CALL harmless()'),
  text('SET autocommit = 1'),
  text('SET @x = 1'),
  text('CREATE TEMPORARY TABLE IF NOT EXISTS passing (id INT)'),
  text(`SELECT 'COMMIT; DROP TABLE acc'`),
  text('SELECT 1 -- COMMIT'),
  {
    name: 'a prepared statement',
    run: async (tx) => {
      await tx.query(`PREPARE seen FROM 'SELECT 1'`);
      await tx.query('EXECUTE seen');
    },
  },
  {
    name: 'nested transactions',
    run: async (tx) => {
      await tx.transaction(async (inner) => inner.query('DO 1'));
      await tx.transaction(async () => Promise.reject(new Error('undone'))).catch(() => {});
    },
  },
  {
    name: 'savepoints by hand',
    run: async (tx) => {
      for (const one of ['SAVEPOINT mine', 'ROLLBACK TO mine', 'RELEASE SAVEPOINT mine']) await tx.query(one);
    },
  },
  {
    name: 'a failed INSERT, swallowed',
    fails: true,
    run: (tx) => tx.query('INSERT INTO acc VALUES (1, 0)').catch(() => {}),
  },
  { name: 'an unknown table, swallowed', fails: true, run: (tx) => tx.query('SELECT * FROM nowhere').catch(() => {}) },
  {
    name: 'several statements at once',
    run: (tx) => Promise.all([1, 2, 3].map((id) => tx.query('UPDATE acc SET n = n + 0 WHERE id = ?', [id + 50]))),
  },
];

/** The transaction is a deadlock's victim, once: its rival has changed more rows. The caller may swallow the error. */
export async function deadlock(tx: EntityManager, sandbox: Sandbox): Promise<void> {
  const rival = await createConnection({ uri: sandbox.databases.payment });
  try {
    await rival.query('START TRANSACTION');
    await rival.query('UPDATE acc SET n = n + 1 WHERE id BETWEEN 100 AND 300');
    await rival.query('UPDATE acc SET n = n + 1 WHERE id = 2');
    await tx.query('UPDATE acc SET n = n + 1 WHERE id = 1');
    const waiting = 'UPDATE acc SET n = n + 1 WHERE id = 1';
    const blocked = rival.query(waiting);
    blocked.catch(() => {}); // it is awaited below, unless a step before that fails
    await until('the rival waits', async () => (await statementsNow(sandbox, 'payment', waiting)) > 0);
    try {
      await tx.query('UPDATE acc SET n = n + 1 WHERE id = 2');
    } finally {
      await blocked;
      await rival.query('ROLLBACK');
    }
  } finally {
    await rival.end();
  }
}
