import type { DataSource, QueryRunner } from 'typeorm';
import { DtxError } from '../errors/errors.js';
import { errnoOf, SERVER_ERRNO_MIN } from '../errors/sql-errors.js';
import type { Tap } from './intercepted-connection.js';
import {
  missingOf,
  NO_SUCH_TABLE,
  RECORDED_SQL,
  type Recorded,
  recordedBy,
  recordSql,
  VERSIONS_SQL,
} from './schema-versions.js';
import { DEFAULT_NAMES, type TableNames } from './table-prefix.js';

/**
 * One version of a schema. DDL commits implicitly on MySQL and MariaDB, so each statement must be idempotent. If the
 * process dies between two statements, the version is not recorded and the next start repeats all of them. The nodes of
 * a Galera cluster do not share named locks, so another instance may run the same statement at the same time.
 */
export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly up: ReadonlyArray<string | Once>;
}

/**
 * A statement that is not idempotent, such as ALTER TABLE. `unless` is a SELECT that returns a row after the statement
 * has taken effect. The statement must be atomic. Both servers undo an interrupted ALTER TABLE.
 */
export interface Once {
  readonly unless: string;
  readonly sql: string;
}

/**
 * The `unless` of a statement that adds a column. Names are constants, never input.
 * @example
 *   { unless: hasColumn('orders', 'coupon'), sql: 'ALTER TABLE orders ADD COLUMN coupon CHAR(8) NULL' }
 */
export function hasColumn(table: string, column: string): string {
  return `SELECT 1 AS found FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = '${table}' AND column_name = '${column}'`;
}

/** The `unless` of a statement that adds an index. Names are constants, never input. */
function hasIndex(table: string, index: string): string {
  return `SELECT 1 AS found FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = '${table}' AND index_name = '${index}' LIMIT 1`;
}

/**
 * Adds an index to a table of any size, while other sessions read and write it. The servers lock the table only at the
 * beginning and at the end.
 */
export function addIndexOnce(table: string, index: string, columns: string): Once {
  const sql = `ALTER TABLE ${table} ADD INDEX ${index} (${columns}), ALGORITHM=INPLACE, LOCK=NONE`;
  return { unless: hasIndex(table, index), sql };
}

/**
 * Replaces the columns of an index under the same name. One statement, so the table always has the index.
 * @param columns the new columns, separated by a comma and a space
 * @example
 *   up: [widenIndexOnce('orders', 'by_buyer', 'buyer_id, created_at')]
 */
export function widenIndexOnce(table: string, index: string, columns: string): Once {
  const unless = `SELECT 1 AS found FROM information_schema.statistics WHERE table_schema = DATABASE()
    AND table_name = '${table}' AND index_name = '${index}'
    HAVING GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR ', ') = '${columns}'`;
  const change = `DROP INDEX ${index}, ADD INDEX ${index} (${columns})`;
  return { unless, sql: `ALTER TABLE ${table} ${change}, ALGORITHM=INPLACE, LOCK=NONE` };
}

/** The migrations of one component. */
export interface MigrationWork {
  readonly component: string;
  /** As they are sent: those of the library with the names of the installation already. */
  readonly migrations: readonly Migration[];
  /** The name of the table of versions. Default: `dtx_schema_version`. */
  readonly names?: TableNames;
}

/** Migrations of the library with the table names of an installation. Never for migrations of the user. */
export function migrationsWith(names: TableNames, migrations: readonly Migration[]): readonly Migration[] {
  const text = (sql: string) => names.inDatabase(sql);
  const named = (one: string | Once) =>
    typeof one === 'string' ? text(one) : { unless: text(one.unless), sql: text(one.sql) };
  return migrations.map((migration) => ({ ...migration, up: migration.up.map(named) }));
}

const LOCK_WAIT_SECONDS = 60;
/**
 * Wait in seconds for transactions that use the table. Other sessions queue behind it, so it is short. The next start
 * repeats the migration.
 */
export const TABLE_WAIT_SECONDS = 5;

/**
 * A connection for a migration. `limitMs` overrides the statement limit of the connection in milliseconds. 0: no limit.
 */
export type MigrationQuery = (sql: string, limitMs?: number) => Promise<Array<Record<string, unknown>>>;
type Query = MigrationQuery;
/** The time to build an index depends on the table size. */
const NO_LIMIT = 0;

/**
 * Migrates the schema of one component. Concurrent instances take turns through a named lock, which the server releases
 * if its holder dies. An up-to-date component is only read, which needs no DDL rights.
 * @param applied called after each version that this call has applied
 * @throws DtxError if another instance holds the lock for more than a minute, or the account lacks a right
 */
export async function migrateOn(
  query: Query,
  work: MigrationWork,
  applied: (migration: Migration) => void = () => {},
): Promise<void> {
  const { component, migrations } = work;
  if (missingOf(migrations, (await recorded(query, work)) ?? undefined).length === 0) return;
  const [row] = await query(`SELECT GET_LOCK(${LOCK}, ${LOCK_WAIT_SECONDS}) AS got`, 1_000 * (LOCK_WAIT_SECONDS + 5));
  if (Number(row!.got) !== 1)
    throw new DtxError(
      `cannot migrate "${component}": another instance has held the migration lock for ${LOCK_WAIT_SECONDS} s`,
    );
  try {
    await apply(query, work, applied);
  } finally {
    await query(`SELECT RELEASE_LOCK(${LOCK})`).catch(() => {});
  }
}

const LOCK = `CONCAT('dtx-migrate:', LEFT(SHA2(DATABASE(), 256), 40))`;

/** Migrates over a connection that is closed afterwards, so its session settings end with it. */
export async function migrateOver(tap: Tap, work: MigrationWork): Promise<void> {
  const usualMs = tap.limitMs;
  // Migrations of the user have names of the user.
  tap.names = DEFAULT_NAMES;
  await tap.ask(`SET SESSION lock_wait_timeout = ${TABLE_WAIT_SECONDS}`);
  const query: Query = (sql, limitMs = usualMs) => {
    tap.limitMs = limitMs;
    return tap.ask(sql);
  };
  await migrateOn(query, work);
}

/**
 * Migrates on a pooled connection of a DataSource and restores its lock wait.
 * @throws DtxError if another instance holds the migration lock for more than 60 s, or the account lacks a right
 * @example
 *   await migrateDtx(dataSource, 'order', [{ version: 1, name: 'orders', up: ['CREATE TABLE IF NOT EXISTS orders (...)'] }]);
 */
export async function migrate(source: DataSource, component: string, migrations: readonly Migration[]): Promise<void> {
  const runner = source.createQueryRunner();
  try {
    await runner.connect();
    await migrateOnRunner(runner, { component, migrations });
  } finally {
    await runner.release();
  }
}

/** Migrates on a connection of the user and restores its lock wait. */
export async function migrateOnRunner(runner: QueryRunner, work: MigrationWork): Promise<void> {
  const [row] = await runner.query('SELECT @@SESSION.lock_wait_timeout AS seconds');
  await runner.query(`SET SESSION lock_wait_timeout = ${TABLE_WAIT_SECONDS}`);
  try {
    await migrateOn((sql) => runner.query(sql), work);
  } finally {
    await runner.query(`SET SESSION lock_wait_timeout = ${Number(row.seconds)}`).catch(() => {});
  }
}

/**
 * Runs one statement. The migration lock keeps other instances of this server out between the check and the statement.
 * An instance at another node of a cluster may come first. The failed statement then has taken effect.
 */
async function run(query: Query, statement: string | Once): Promise<void> {
  if (typeof statement === 'string') return void (await query(statement, NO_LIMIT));
  const hasEffect = async () => (await query(statement.unless)).length > 0;
  if (await hasEffect()) return;
  try {
    await query(statement.sql, NO_LIMIT);
  } catch (error) {
    if (errnoOf(error) < SERVER_ERRNO_MIN || !(await hasEffect())) throw error;
  }
}

async function apply(query: Query, work: MigrationWork, applied: (migration: Migration) => void): Promise<void> {
  const { component, migrations, names = DEFAULT_NAMES } = work;
  let done = await recorded(query, work);
  if (!done) {
    await withRight(`the table of schema versions`, () => query(names.inDatabase(VERSIONS_SQL)));
    done = await recorded(query, work);
  }
  for (const migration of missingOf(migrations, done ?? undefined)) {
    const { version, name, up } = migration;
    await withRight(`${component} version ${version} (${name})`, async () => {
      for (const statement of up) await run(query, statement);
      await query(recordSql(component, migration, names));
    });
    applied(migration);
  }
}

/** The recorded versions of a component. Null if the table `dtx_schema_version` does not exist. */
async function recorded(query: Query, { component, names }: MigrationWork): Promise<ReadonlySet<number> | null> {
  const versions = await recordedVersions(query, `the look at the version of ${component}`, names);
  return versions && (versions.get(component) ?? new Set());
}

/**
 * Reads the recorded versions of all components. Null if the table `dtx_schema_version` does not exist.
 * @throws DtxError if the account may not read the table
 */
export async function recordedVersions(
  query: Query,
  what: string,
  names: TableNames = DEFAULT_NAMES,
): Promise<Recorded | null> {
  try {
    return recordedBy(await withRight(what, () => query(names.inDatabase(RECORDED_SQL))));
  } catch (error) {
    if (errnoOf(error) === NO_SUCH_TABLE) return null;
    throw error;
  }
}

/** Access denied: to a database, a command on a table, a column, a global privilege, a routine. */
const NO_RIGHT = new Set([1044, 1142, 1143, 1227, 1370]);

/** @throws DtxError if the account lacks a right. The text of the server names the right and the table. */
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
