import type { MigrationInterface, QueryRunner } from 'typeorm';
import { type Migration, migrateOnRunner, migrationsWith } from '../core/database/migrate.js';
import { TABLE_PREFIX, TableNames } from '../core/database/table-prefix.js';
import { DtxError } from '../core/errors/errors.js';
import { componentsOf, type SchemaComponent, type TableScheme } from './schema-components.js';

/** TypeORM reads the time of a migration from the last 13 characters of its name. Those of the library come first. */
const BASE_MS = 1_500_000_000_000;
const VERSIONS_MAX = 1_000;

/** Options of `dtxMigrations`. */
export interface TypeOrmMigrationOptions {
  /** All schemes by default. Schemes may be added later. */
  readonly schemes?: readonly TableScheme[];
  /** Option `tablePrefix` of `DtxModule`. Default: `dtx`. */
  readonly tablePrefix?: string;
}

/**
 * The tables of the library as TypeORM migrations, for an app that runs its own. One class per version, so a new release
 * of the library adds classes and never changes one. Each one also records its version in `dtx_schema_version`, so
 * `DtxModule.forRoot({ migrate: 'check' })` accepts the schema afterwards.
 *
 * `up` does nothing where the version is recorded already, by this or by any other way. DDL commits implicitly on MySQL
 * and MariaDB, so a transaction of TypeORM around it changes nothing. `down` throws, because a table may have open rows.
 * With a `tablePrefix` other than `dtx` the names of the classes contain it.
 * @throws OptionsError for an unknown scheme or an invalid prefix
 * @example
 *   new DataSource({ type: 'mysql', ...address, migrations: [...dtxMigrations({ schemes: ['tcc'] }), CreateOrders1] });
 */
export function dtxMigrations(options: TypeOrmMigrationOptions = {}): Array<new () => MigrationInterface> {
  const names = new TableNames(options.tablePrefix);
  return componentsOf(options.schemes).flatMap((one) =>
    one.migrations.map((migration) => classOf(one, migration, names)),
  );
}

function classOf(
  { component, number }: SchemaComponent,
  migration: Migration,
  names: TableNames,
): new () => MigrationInterface {
  const { version } = migration;
  const prefix = names.prefix === TABLE_PREFIX ? '' : `_${names.prefix}`;
  const name = `${pascal(component)}V${version}${prefix}_${BASE_MS + number * VERSIONS_MAX + version}`;
  class DtxMigration implements MigrationInterface {
    readonly name = name;

    async up(runner: QueryRunner): Promise<void> {
      await migrateOnRunner(runner, { component, migrations: migrationsWith(names, [migration]), names });
    }

    async down(): Promise<void> {
      throw new DtxError(`cannot revert ${name}: a table of nest-dtx may have open rows; see docs/schema.md`);
    }
  }
  Object.defineProperty(DtxMigration, 'name', { value: name });
  return DtxMigration;
}

const pascal = (component: string) => component.replace(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase());
