import { DtxError } from '../errors/errors.js';
import type { CoreOptions } from '../options.js';
import type { Pools } from './library-pools.js';
import { type Migration, migrateOver, migrationsWith, recordedSchema } from './migrate.js';
import {
  type ComponentVersion,
  isShutOut,
  missingOf,
  NOTHING_RECORDED,
  versionOf,
  versionText,
} from './schema-versions.js';
import { windowText } from './schema-window.js';
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
 * A newer program has migrated the database, and its migration states that this program may not write to it any more
 * (`Migration.compatibleFrom`). The database opens after an upgrade of this program, or a changed statement.
 */
export class SchemaNewer extends DtxError {}

/**
 * The schemas that this app needs in its own database, and who applies them (docs/schema.md). With `migrate: 'auto'` the
 * start applies missing versions. With `'check'` it only reads `dtx_schema_version` and refuses a schema that is behind.
 * Both refuse a schema that shuts this program out. With `false` it reads nothing. If the process dies during a migration, the next start repeats the unfinished version.
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
   * @throws SchemaBehind under `'check'`; SchemaNewer; DtxError if the account lacks a right, or another instance holds the lock
   */
  async bringUpToDate(pools: Pools): Promise<void> {
    if (this.mode !== false) await this.check(pools);
    if (this.mode === 'auto') for (const component of this.components) await migrateComponent(pools, component);
    this.isDone = true;
  }

  private async check({ own, names }: Pools): Promise<void> {
    const query = (sql: string) => own.query(sql);
    const schema = (await recordedSchema(query, 'the look at the versions of the schema')) ?? NOTHING_RECORDED;
    const found = this.components.map((one) => ({ ...one, ...versionOf(one.component, one.migrations, schema) }));
    const closed = found.filter(isShutOut);
    if (closed.length > 0) throw new SchemaNewer(`the schema is newer than this program: ${newerText(closed)}`);
    const behind = found.filter((one) => missingOf(one.migrations, schema.versions.get(one.component)).length > 0);
    if (behind.length === 0 || this.mode !== 'check') return;
    const of = (isUsers: boolean) => behind.filter((one) => one.isUsers === isUsers);
    throw new SchemaBehind(
      `the schema is behind: ${[...remedyOf(of(false), names), ...remedyOfUsers(of(true), names)].join('; ')}`,
    );
  }
}

function newerText(closed: readonly ComponentVersion[]): string {
  const texts = closed.map(
    ({ component, needed, window }) => `${component} is at ${windowText(window!)}, this program has version ${needed}`,
  );
  return `${texts.join(', ')}; deploy the program version that made the newest migration`;
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
