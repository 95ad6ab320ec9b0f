import type { MigrationInterface, QueryRunner } from 'typeorm';
import { type Migration, migrateOnRunner } from '../core/database/migrate.js';
import { DtxError } from '../core/errors/errors.js';
import { componentsOf, type SchemaComponent, type TableScheme } from './schema-components.js';

/** TypeORM reads the time of a migration from the last 13 characters of its name. Those of the library come first. */
const BASE_MS = 1_500_000_000_000;
const VERSIONS_MAX = 1_000;

/**
 * The tables of the library as TypeORM migrations, for an app that runs its own. One class per version, so a new release
 * of the library adds classes and never changes one. Each one also records its version in `dtx_schema_version`, so
 * `DtxModule.forRoot({ migrate: 'check' })` accepts the schema afterwards.
 *
 * `up` does nothing where the version is recorded already, by this or by any other way. DDL commits implicitly on MySQL
 * and MariaDB, so a transaction of TypeORM around it changes nothing. `down` throws, because a table may have open rows.
 * @param options `schemes`: all by default. Schemes may be added later
 * @throws OptionsError for an unknown scheme
 * @example
 *   new DataSource({ type: 'mysql', ...address, migrations: [...dtxMigrations({ schemes: ['tcc'] }), CreateOrders1] });
 */
export function dtxMigrations(options: { schemes?: readonly TableScheme[] } = {}): Array<new () => MigrationInterface> {
  return componentsOf(options.schemes).flatMap((one) => one.migrations.map((migration) => classOf(one, migration)));
}

function classOf({ component, number }: SchemaComponent, migration: Migration): new () => MigrationInterface {
  const { version } = migration;
  const name = `${pascal(component)}V${version}_${BASE_MS + number * VERSIONS_MAX + version}`;
  class DtxMigration implements MigrationInterface {
    readonly name = name;

    async up(runner: QueryRunner): Promise<void> {
      await migrateOnRunner(runner, component, [migration]);
    }

    async down(): Promise<void> {
      throw new DtxError(`cannot revert ${name}: a table of nest-dtx may have open rows; see docs/schema.md`);
    }
  }
  Object.defineProperty(DtxMigration, 'name', { value: name });
  return DtxMigration;
}

const pascal = (component: string) => component.replace(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase());
