import type { DataSource } from 'typeorm';
import { DtxError } from '../errors.js';
import { bind } from './literal.js';

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

const LOCK_WAIT_SECONDS = 60;
/**
 * How long a statement waits for transactions that have the table open. Everybody else waits behind it meanwhile, so it
 * gives up soon. The start repeats the migration.
 */
export const TABLE_WAIT_SECONDS = 5;

/** One connection that only a migration uses. */
export type Query = (sql: string) => Promise<Array<Record<string, unknown>>>;

/**
 * Brings the schema of one component up to date. Several instances may do it at once: a named lock of the server
 * lets one through, and is released by the server itself if its holder dies.
 * @throws DtxError when another instance holds the lock for longer than a minute
 */
export async function migrateOn(query: Query, component: string, migrations: readonly Migration[]): Promise<void> {
  const [row] = await query(`SELECT GET_LOCK(${LOCK}, ${LOCK_WAIT_SECONDS}) AS got`);
  if (Number(row!.got) !== 1)
    throw new DtxError(`another instance has held the migration lock for ${LOCK_WAIT_SECONDS} s`);
  try {
    await apply(query, component, migrations);
  } finally {
    await query(`SELECT RELEASE_LOCK(${LOCK})`).catch(() => {});
  }
}

const LOCK = `CONCAT('dtx-migrate:', LEFT(SHA2(DATABASE(), 256), 40))`;

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
  if (typeof statement === 'string') await query(statement);
  else if ((await query(statement.unless)).length === 0) await query(statement.sql);
}

async function apply(query: Query, component: string, migrations: readonly Migration[]): Promise<void> {
  await query(`CREATE TABLE IF NOT EXISTS dtx_schema_version (
    component VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, version INT NOT NULL, name VARCHAR(128) NOT NULL,
    applied_at DATETIME(3) NOT NULL, PRIMARY KEY (component, version)) ENGINE=InnoDB`);
  const rows = await query(bind('SELECT version FROM dtx_schema_version WHERE component = ?', [component]));
  const done = new Set(rows.map((row) => Number(row.version)));
  for (const migration of [...migrations].sort((a, b) => a.version - b.version)) {
    if (done.has(migration.version)) continue;
    for (const statement of migration.up) await run(query, statement);
    await query(
      bind('INSERT INTO dtx_schema_version (component, version, name, applied_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3))', [
        component,
        migration.version,
        migration.name,
      ]),
    );
  }
}
