import { bind } from './sql-literals.js';
import { DEFAULT_NAMES } from './table-prefix.js';

/** A migration, as far as its record is concerned. */
interface Versioned {
  readonly version: number;
  readonly name: string;
}

/**
 * `dtx_schema_version` has one row per component and applied version. A row is written after all statements of its
 * version, so a version without a row may be half applied and is repeated.
 */
export const VERSIONS_SQL = `CREATE TABLE IF NOT EXISTS dtx_schema_version (
    component VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, version INT NOT NULL, name VARCHAR(128) NOT NULL,
    applied_at DATETIME(3) NOT NULL, PRIMARY KEY (component, version)) ENGINE=InnoDB`;

/** Reads every recorded version of every component. Fails with NO_SUCH_TABLE before the first migration. */
export const RECORDED_SQL = 'SELECT component, version FROM dtx_schema_version';

/** MySQL and MariaDB: the table does not exist. */
export const NO_SUCH_TABLE = 1146;

/** Records an applied version. An instance at another node of a cluster may have recorded it already. */
export function recordSql(component: string, { version, name }: Versioned, names = DEFAULT_NAMES): string {
  const statement = `INSERT INTO dtx_schema_version (component, version, name, applied_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3))
           ON DUPLICATE KEY UPDATE version = VALUES(version)`;
  return bind(names.inDatabase(statement), [component, version, name]);
}

/** The recorded versions by component. */
export type Recorded = ReadonlyMap<string, ReadonlySet<number>>;

/** Groups the rows of `RECORDED_SQL`. */
export function recordedBy(rows: ReadonlyArray<Record<string, unknown>>): Recorded {
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
}

/** Compares the migrations of a component with its recorded versions. */
export function versionOf(component: string, migrations: readonly Versioned[], recorded: Recorded): ComponentVersion {
  const versions = migrations.map(({ version }) => version).sort((a, b) => a - b);
  const done = recorded.get(component);
  const gap = versions.findIndex((version) => !done?.has(version));
  const present = gap < 0 ? versions.at(-1) : versions[gap - 1];
  return { component, needed: versions.at(-1) ?? 0, present: present ?? 0 };
}

/** A component as an error and a status line name it. */
export function versionText({ component, present, needed }: ComponentVersion): string {
  return `${component} is at version ${present || 'none'}, needed is ${needed}`;
}
