import { migrationsWith, type Once } from '../core/database/migrate.js';
import { missingOf, recordSql, versionsTable } from '../core/database/schema-versions.js';
import { TableNames } from '../core/database/table-prefix.js';
import { componentsOf, type TableScheme, tablesOf } from './schema-components.js';

/** Which tables, and which versions of them are there. */
export interface TableSqlOptions {
  /** All schemes by default. */
  readonly schemes?: readonly TableScheme[];
  /** The versions that the database has, by component. None by default. */
  readonly recorded?: ReadonlyMap<string, ReadonlySet<number>>;
  /** Option `tablePrefix` of `DtxModule`. Default: `dtx`. */
  readonly tablePrefix?: string;
}

/** One version of one component, as statements that a plain SQL client can run, twice too. */
export interface SchemaStep {
  readonly component: string;
  readonly version: number;
  readonly name: string;
  readonly statements: readonly string[];
}

/** The steps from the recorded versions to the present ones. Empty if nothing is missing. */
export function schemaSteps({ schemes, recorded, tablePrefix }: TableSqlOptions = {}): SchemaStep[] {
  const names = new TableNames(tablePrefix);
  return componentsOf(schemes).flatMap(({ component, migrations }) =>
    missingOf(migrationsWith(names, migrations), recorded?.get(component)).map((migration) => ({
      component,
      version: migration.version,
      name: migration.name,
      statements: [...migration.up.flatMap(repeatable), recordSql(component, migration, names)],
    })),
  );
}

/**
 * The SQL that creates the tables of the library and records their versions, for an administrator. The same statements
 * run on MySQL and MariaDB. A second run changes nothing. Run them in their order in one session, in the database of the
 * app. Afterwards `migrate: 'check'` accepts the schema.
 * @returns one statement per entry, without a semicolon
 * @throws OptionsError for an unknown scheme
 * @example
 *   await writeFile('dtx.sql', dtxTableSql({ schemes: ['local-message'] }).join(';\n') + ';\n');
 */
export function dtxTableSql(options: TableSqlOptions = {}): string[] {
  return [...versionsTableSql(options), ...schemaSteps(options).flatMap(({ statements }) => statements)];
}

/** The statements that create the table of versions, or bring an earlier one up to date. */
export function versionsTableSql({ tablePrefix }: Pick<TableSqlOptions, 'tablePrefix'>): string[] {
  return versionsTable(new TableNames(tablePrefix)).flatMap(repeatable);
}

/** Dynamic SQL gives plain SQL its condition. Both servers prepare ALTER TABLE and DO. */
function repeatable(statement: string | Once): string[] {
  if (typeof statement === 'string') return [statement];
  const { unless, sql } = statement;
  return [
    `SET @dtx_done = (SELECT COUNT(*) FROM (${unless}) AS dtx_found)`,
    `SET @dtx_sql = IF(@dtx_done > 0, 'DO 0', '${sql.replaceAll("'", "''")}')`,
    'PREPARE dtx_step FROM @dtx_sql',
    'EXECUTE dtx_step',
    'DEALLOCATE PREPARE dtx_step',
  ];
}

/**
 * The GRANTs that an account needs at run time under `migrate: 'check'`, for the tables of the library in the present
 * database. The business tables of the app come on top. With `xa-participant` the account is also the one by which the
 * deciding program reaches this database.
 * @param account as SQL, such as `'order'@'10.%'`
 * @param schemes all by default
 * @param tablePrefix option of `DtxModule`. Default: `dtx`
 * @returns one statement per entry, without a semicolon
 * @throws OptionsError for an unknown scheme or an invalid prefix
 * @example
 *   for (const grant of dtxGrantSql(`'order'@'10.%'`, ['local-message'])) await administrator.query(grant);
 */
export function dtxGrantSql(account: string, schemes?: readonly TableScheme[], tablePrefix?: string): string[] {
  const names = new TableNames(tablePrefix);
  const components = componentsOf(schemes);
  const hasBranches = components.some(({ scheme }) => scheme === 'xa-participant');
  return [
    `GRANT SELECT ON ${names.inDatabase('dtx_schema_version')} TO ${account}`,
    ...tablesOf(components).map(
      ({ name }) => `GRANT SELECT, INSERT, UPDATE, DELETE ON ${names.inDatabase(name)} TO ${account}`,
    ),
    // MariaDB lists prepared branches without a privilege, and reads this as a comment.
    ...(hasBranches ? [`/*!80000 GRANT XA_RECOVER_ADMIN ON *.* TO ${account} */`] : []),
  ];
}
