import { hasColumn, type Once } from './migration.js';
import { type SchemaWindow, windowsOf } from './schema-window.js';
import { bind } from './sql-literals.js';
import { DEFAULT_NAMES, type TableNames } from './table-prefix.js';

/** A migration, as far as its record is concerned. */
interface Versioned {
  readonly version: number;
  readonly name: string;
  readonly compatibleFrom?: number | undefined;
}

/**
 * `dtx_schema_version` has one row per component and applied version. A row is written after all statements of its
 * version, so a version without a row may be half applied and is repeated.
 */
const VERSIONS_SQL = `CREATE TABLE IF NOT EXISTS dtx_schema_version (
    component VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, version INT NOT NULL, name VARCHAR(128) NOT NULL,
    applied_at DATETIME(3) NOT NULL, compatible_from INT NULL, PRIMARY KEY (component, version)) ENGINE=InnoDB`;

/**
 * Creates the table of versions, or adds the column that earlier releases lack. Those name the columns that they write,
 * so their rows have NULL there, and run beside it unharmed.
 */
export function versionsTable(names: TableNames): ReadonlyArray<string | Once> {
  const table = names.inDatabase('dtx_schema_version');
  return [
    names.inDatabase(VERSIONS_SQL),
    {
      unless: hasColumn(table, 'compatible_from'),
      sql: `ALTER TABLE ${table} ADD COLUMN compatible_from INT NULL`,
    },
  ];
}

/**
 * Reads every recorded version of every component. Fails with NO_SUCH_TABLE before the first migration. All columns,
 * because the table of an earlier release lacks the last one until the next migration.
 */
export const RECORDED_SQL = 'SELECT * FROM dtx_schema_version';

/** MySQL and MariaDB: the table does not exist. */
export const NO_SUCH_TABLE = 1146;

/**
 * Records an applied version. An instance at another node of a cluster, or an earlier release without statements, may
 * have recorded it already.
 */
export function recordSql(component: string, migration: Versioned, names = DEFAULT_NAMES): string {
  const { version, name, compatibleFrom = null } = migration;
  const statement = `INSERT INTO dtx_schema_version (component, version, name, applied_at, compatible_from)
           VALUES (?, ?, ?, UTC_TIMESTAMP(3), ?)
           ON DUPLICATE KEY UPDATE compatible_from = COALESCE(VALUES(compatible_from), compatible_from)`;
  return bind(names.inDatabase(statement), [component, version, name, compatibleFrom]);
}

/** The recorded versions by component. */
export type Recorded = ReadonlyMap<string, ReadonlySet<number>>;

/** The content of `dtx_schema_version`. */
export interface RecordedSchema {
  readonly versions: Recorded;
  readonly windows: ReadonlyMap<string, SchemaWindow>;
}

export const NOTHING_RECORDED: RecordedSchema = { versions: new Map(), windows: new Map() };

export const recordedSchemaOf = (rows: ReadonlyArray<Record<string, unknown>>): RecordedSchema => ({
  versions: recordedBy(rows),
  windows: windowsOf(rows),
});

/** Groups the rows of `RECORDED_SQL`. */
function recordedBy(rows: ReadonlyArray<Record<string, unknown>>): Recorded {
  const versions = new Map<string, Set<number>>();
  for (const row of rows) {
    const component = String(row.component);
    versions.set(component, (versions.get(component) ?? new Set()).add(Number(row.version)));
  }
  return versions;
}

/** The missing migrations in the order of their versions. */
export function missingOf<M extends Versioned>(migrations: readonly M[], done: ReadonlySet<number> | undefined): M[] {
  return migrations.filter(({ version }) => !done?.has(version)).sort((a, b) => a.version - b.version);
}

/** The version of a component that is needed, and the one that the database has: the last without a gap before it. */
export interface ComponentVersion {
  readonly component: string;
  readonly needed: number;
  /** 0 for a component without any version. */
  readonly present: number;
  /** With later versions, which these migrations do not have. Undefined for a component without any version. */
  readonly window: SchemaWindow | undefined;
}

/** Compares the migrations of a component with its recorded versions. */
export function versionOf(
  component: string,
  migrations: readonly Versioned[],
  { versions: recorded, windows }: RecordedSchema,
): ComponentVersion {
  const versions = migrations.map(({ version }) => version).sort((a, b) => a - b);
  const done = recorded.get(component);
  const gap = versions.findIndex((version) => !done?.has(version));
  const present = gap < 0 ? versions.at(-1) : versions[gap - 1];
  return { component, needed: versions.at(-1) ?? 0, present: present ?? 0, window: windows.get(component) };
}

/**
 * Whether a later migration states that programs with these migrations may not write. A later version without a
 * statement shuts no program out of the database of its own app, as in releases without statements.
 */
export function isShutOut({ needed, window }: ComponentVersion): boolean {
  return window !== undefined && window.statedFrom > needed;
}

/** A component as an error and a status line name it. */
export function versionText({ component, present, needed }: ComponentVersion): string {
  return `${component} is at version ${present || 'none'}, needed is ${needed}`;
}
