import type { DataSource } from 'typeorm';
import { DtxError } from '../errors/errors.js';
import { errnoOf } from '../errors/sql-errors.js';
import { bind } from './literal.js';
import type { Tap } from './tap.js';

/**
 * One step of a schema's history. DDL commits by itself on MySQL and MariaDB, so each statement must be idempotent:
 * a process that dies between two of them leaves the version unrecorded, and the next start repeats all of them.
 */
export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly up: ReadonlyArray<string | Once>;
}

/**
 * A statement that cannot run twice, such as ALTER TABLE. `unless` is a SELECT that gives a row once the statement has
 * taken effect. The statement must be atomic: both servers undo an ALTER TABLE that was interrupted.
 */
export interface Once {
  readonly unless: string;
  readonly sql: string;
}

/** The `unless` of a statement that adds a column to a table. Names are constants, never input. */
export function hasColumn(table: string, column: string): string {
  return `SELECT 1 AS found FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = '${table}' AND column_name = '${column}'`;
}

/** The `unless` of a statement that adds an index to a table. Names are constants, never input. */
function hasIndex(table: string, index: string): string {
  return `SELECT 1 AS found FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = '${table}' AND index_name = '${index}' LIMIT 1`;
}

/**
 * An index for a table of any size: both servers build it while others read and write the table, which costs them a lock
 * of the table at its beginning and at its end.
 */
export function addIndexOnce(table: string, index: string, columns: string): Once {
  const sql = `ALTER TABLE ${table} ADD INDEX ${index} (${columns}), ALGORITHM=INPLACE, LOCK=NONE`;
  return { unless: hasIndex(table, index), sql };
}

/** Gives an index of a table other columns, under the same name. One statement, so the table is never without it. */
export function widenIndexOnce(table: string, index: string, columns: string): Once {
  const unless = `SELECT 1 AS found FROM information_schema.statistics WHERE table_schema = DATABASE()
    AND table_name = '${table}' AND index_name = '${index}'
    HAVING GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR ', ') = '${columns}'`;
  const change = `DROP INDEX ${index}, ADD INDEX ${index} (${columns})`;
  return { unless, sql: `ALTER TABLE ${table} ${change}, ALGORITHM=INPLACE, LOCK=NONE` };
}

const LOCK_WAIT_SECONDS = 60;
/**
 * How long a statement waits for transactions that have the table open. Everybody else waits behind it meanwhile, so it
 * gives up soon. The start repeats the migration.
 */
const TABLE_WAIT_SECONDS = 5;

/**
 * One connection that only a migration uses. `limitMs`: how long the answer may take, where that is not the usual limit of
 * the connection. 0: as long as it likes.
 */
type Query = (sql: string, limitMs?: number) => Promise<Array<Record<string, unknown>>>;
/** Building an index takes as long as its table is large. */
const NO_LIMIT = 0;

/**
 * Brings the schema of one component up to date. Several instances may do it at once: a named lock of the server
 * lets one through, and is released by the server itself if its holder dies. A component that is up to date is only looked
 * at: rights on rows are enough for that.
 * @throws DtxError when another instance holds the lock for longer than a minute, or the account lacks a right
 */
async function migrateOn(query: Query, component: string, migrations: readonly Migration[]): Promise<void> {
  if (missingOf(migrations, await recorded(query, component)).length === 0) return;
  const [row] = await query(`SELECT GET_LOCK(${LOCK}, ${LOCK_WAIT_SECONDS}) AS got`, 1_000 * (LOCK_WAIT_SECONDS + 5));
  if (Number(row!.got) !== 1)
    throw new DtxError(`another instance has held the migration lock for ${LOCK_WAIT_SECONDS} s`);
  try {
    await apply(query, component, migrations);
  } finally {
    await query(`SELECT RELEASE_LOCK(${LOCK})`).catch(() => {});
  }
}

const LOCK = `CONCAT('dtx-migrate:', LEFT(SHA2(DATABASE(), 256), 40))`;

/** The same over a connection that is not used again: what a migration does to its session ends with it. */
export async function migrateOver(tap: Tap, component: string, migrations: readonly Migration[]): Promise<void> {
  const usualMs = tap.limitMs;
  await tap.ask(`SET SESSION lock_wait_timeout = ${TABLE_WAIT_SECONDS}`);
  const query: Query = (sql, limitMs = usualMs) => {
    tap.limitMs = limitMs;
    return tap.ask(sql);
  };
  await migrateOn(query, component, migrations);
}

/** The same for a DataSource, on a connection of its pool, which gets its own lock wait back. */
export async function migrate(source: DataSource, component: string, migrations: readonly Migration[]): Promise<void> {
  const runner = source.createQueryRunner();
  try {
    await runner.connect();
    const [row] = await runner.query('SELECT @@SESSION.lock_wait_timeout AS seconds');
    await runner.query(`SET SESSION lock_wait_timeout = ${TABLE_WAIT_SECONDS}`);
    try {
      await migrateOn((sql) => runner.query(sql), component, migrations);
    } finally {
      await runner.query(`SET SESSION lock_wait_timeout = ${Number(row.seconds)}`).catch(() => {});
    }
  } finally {
    await runner.release();
  }
}

/** Under the migration lock: between the look and the statement no other instance runs it. */
async function run(query: Query, statement: string | Once): Promise<void> {
  if (typeof statement === 'string') await query(statement, NO_LIMIT);
  else if ((await query(statement.unless)).length === 0) await query(statement.sql, NO_LIMIT);
}

async function apply(query: Query, component: string, migrations: readonly Migration[]): Promise<void> {
  let done = await recorded(query, component);
  if (!done) {
    await withRight(`the table of schema versions`, () => query(VERSIONS_SQL));
    done = await recorded(query, component);
  }
  for (const migration of missingOf(migrations, done)) {
    const { version, name, up } = migration;
    await withRight(`${component} version ${version} (${name})`, async () => {
      for (const statement of up) await run(query, statement);
      await query(
        bind(
          'INSERT INTO dtx_schema_version (component, version, name, applied_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3))',
          [component, version, name],
        ),
      );
    });
  }
}

const VERSIONS_SQL = `CREATE TABLE IF NOT EXISTS dtx_schema_version (
    component VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, version INT NOT NULL, name VARCHAR(128) NOT NULL,
    applied_at DATETIME(3) NOT NULL, PRIMARY KEY (component, version)) ENGINE=InnoDB`;

/** The versions that this database has; null where it has no table of them yet. */
async function recorded(query: Query, component: string): Promise<ReadonlySet<number> | null> {
  const select = bind('SELECT version FROM dtx_schema_version WHERE component = ?', [component]);
  try {
    const rows = await withRight(`the look at the version of ${component}`, () => query(select));
    return new Set(rows.map((row) => Number(row.version)));
  } catch (error) {
    if (errnoOf(error) === NO_SUCH_TABLE) return null;
    throw error;
  }
}

/** In the order of their versions. */
function missingOf(migrations: readonly Migration[], done: ReadonlySet<number> | null): Migration[] {
  return migrations.filter(({ version }) => !done?.has(version)).sort((a, b) => a.version - b.version);
}

const NO_SUCH_TABLE = 1146;
/** Access denied: to a database, a command on a table, a column, a global privilege, a routine. */
const NO_RIGHT = new Set([1044, 1142, 1143, 1227, 1370]);

/** @throws DtxError where the account lacks a right; the server's text names the right and the table */
async function withRight<T>(what: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!NO_RIGHT.has(errnoOf(error))) throw error;
    const advice = 'grant it, or start once with an account that has it';
    throw new DtxError(`the account lacks a right for ${what}: ${(error as Error).message}; ${advice}`, {
      cause: error,
    });
  }
}
