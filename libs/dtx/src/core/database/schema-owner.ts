import { DtxError } from '../errors/errors.js';
import type { CoreOptions } from '../options.js';
import type { Pools } from './library-pools.js';
import { type Migration, migrateOver, migrationsWith, recordedVersions } from './migrate.js';
import { type ComponentVersion, missingOf, versionOf, versionText } from './schema-versions.js';
import type { TableNames } from './table-prefix.js';

interface Component {
  readonly component: string;
  readonly migrations: readonly Migration[];
  /** The statements belong to the user, and are run with the settings of the user's sessions. */
  readonly isUsers: boolean;
}

/** Under `migrate: 'check'`, the schema of a component is behind. The database opens after a migration by another account. */
export class SchemaBehind extends DtxError {}

/**
 * The schemas that this app needs in its own database, and who applies them (docs/schema.md). With `migrate: 'auto'` the
 * start applies missing versions. With `'check'` it only reads `dtx_schema_version` and refuses a schema that is behind.
 * With `false` it reads nothing. If the process dies during a migration, the next start repeats the unfinished version.
 */
export class SchemaOwner {
  private readonly components: Component[] = [];
  private isDone = false;

  constructor(private readonly mode: CoreOptions['migrate']) {}

  /** Whether the schema is up to date, as far as `mode` looks. */
  get isUpToDate(): boolean {
    return this.isDone;
  }

  /** @throws DtxError as `Database.addMigrations` */
  add(component: string, migrations: readonly Migration[], isUsers: boolean): void {
    const known = this.components.find((one) => one.component === component);
    // `dtx_schema_version` records versions by component name. Equal names would mix the versions of two components.
    if (known && known.migrations !== migrations)
      throw new DtxError(`cannot register migrations: two components have the name "${component}"; rename one of them`);
    if (this.isDone)
      throw new DtxError(
        `cannot register migrations of "${component}": the database is already migrated; register them before the application starts`,
      );
    if (!known) this.components.push({ component, migrations, isUsers });
  }

  /**
   * Migrates or checks every component, as the mode says.
   * @throws SchemaBehind under `'check'`; DtxError if the account lacks a right, or another instance holds the lock
   */
  async bringUpToDate(pools: Pools): Promise<void> {
    if (this.mode === 'check') await this.check(pools);
    if (this.mode === 'auto') for (const component of this.components) await migrateComponent(pools, component);
    this.isDone = true;
  }

  private async check({ own, names }: Pools): Promise<void> {
    const query = (sql: string) => own.query(sql);
    const recorded = (await recordedVersions(query, 'the look at the versions of the schema')) ?? new Map();
    const behind = this.components.filter(
      ({ component, migrations }) => missingOf(migrations, recorded.get(component)).length > 0,
    );
    if (behind.length === 0) return;
    const versionsOf = (isUsers: boolean) =>
      behind.filter((one) => one.isUsers === isUsers).map((one) => versionOf(one.component, one.migrations, recorded));
    throw new SchemaBehind(
      `the schema is behind: ${[...remedyOf(versionsOf(false), names), ...remedyOfUsers(versionsOf(true), names)].join('; ')}`,
    );
  }
}

const textsOf = (versions: readonly ComponentVersion[]) => versions.map(versionText).join(', ');

function remedyOf(versions: readonly ComponentVersion[], { argument }: TableNames): string[] {
  if (versions.length === 0) return [];
  return [`${textsOf(versions)}; run npx nest-dtx migrate${argument}, because DtxModule has migrate: 'check'`];
}

/** The command cannot know the migrations of an app. They are in a module of the app. */
function remedyOfUsers(versions: readonly ComponentVersion[], { argument }: TableNames): string[] {
  return versions.map(
    (one) =>
      `${versionText(one)} (option migrations of DtxModule); run npx nest-dtx migrate${argument} --app ${one.component} ` +
      '--migrations <module that exports them>',
  );
}

/** Migrates on a connection that is closed afterwards, so its session settings end with it. */
async function migrateComponent({ own, workPool, names }: Pools, { component, migrations, isUsers }: Component) {
  const tap = await (isUsers ? workPool : own).acquire();
  try {
    await migrateOver(tap, { component, names, migrations: isUsers ? migrations : migrationsWith(names, migrations) });
  } finally {
    tap.connection.destroy();
  }
}
