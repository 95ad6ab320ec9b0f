import type { DataSource, QueryRunner } from 'typeorm';
import { DtxError } from '../errors/errors.js';
import { errnoOf, SERVER_ERRNO_MIN } from '../errors/sql-errors.js';
import type { Tap } from './intercepted-connection.js';
import type { Migration, Once } from './migration.js';
import {
  missingOf,
  NO_SUCH_TABLE,
  RECORDED_SQL,
  type RecordedSchema,
  recordedSchemaOf,
  recordSql,
  versionsTable,
} from './schema-versions.js';
import { checkWindows } from './schema-window.js';
import { DEFAULT_NAMES, type TableNames } from './table-prefix.js';

export { addIndexOnce, hasColumn, type Migration, type Once, widenIndexOnce } from './migration.js';

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
 * @throws DtxError if another instance holds the lock for more than a minute, or the account lacks a right, OptionsError
 *   for an impossible `compatibleFrom`
 */
export async function migrateOn(
  query: Query,
  work: MigrationWork,
  applied: (migration: Migration) => void = () => {},
): Promise<void> {
  const { component, migrations } = work;
  checkWindows(component, migrations);
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
 * @throws DtxError if another instance holds the migration lock for more than 60 s, or the account lacks a right,
 *   OptionsError for an impossible `compatibleFrom`
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
  const done = await recorded(query, work);
  const missing = missingOf(migrations, done ?? undefined);
  // Another instance may have applied them while this one waited for the lock.
  if (missing.length === 0) return;
  await withRight('the table of schema versions', async () => {
    const [create, ...changes] = versionsTable(names);
    // CREATE TABLE IF NOT EXISTS needs the right to create also for a table that exists.
    for (const statement of done ? changes : [create!, ...changes]) await run(query, statement);
  });
  for (const migration of missing) {
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
  const schema = await recordedSchema(query, `the look at the version of ${component}`, names);
  return schema && (schema.versions.get(component) ?? new Set());
}

/**
 * Reads the recorded versions of all components, with their windows. Null if the table `dtx_schema_version` does not
 * exist.
 * @throws DtxError if the account may not read the table
 */
export async function recordedSchema(
  query: Query,
  what: string,
  names: TableNames = DEFAULT_NAMES,
): Promise<RecordedSchema | null> {
  try {
    return recordedSchemaOf(await withRight(what, () => query(names.inDatabase(RECORDED_SQL))));
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
