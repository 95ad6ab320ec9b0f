import { type Migration, type MigrationWork, migrateOn, migrationsWith } from '../core/database/migrate.js';
import { checkWindows } from '../core/database/schema-window.js';
import { componentsOf } from '../schema/schema-components.js';
import { type Command, DATABASE, readArguments, UsageError, urlFrom } from './command.js';
import { DatabaseSession } from './database-session.js';
import { exportedValues, loadedModule } from './loaded-module.js';
import { SCHEMES_OPTION, SCHEMES_USAGE, schemesFrom } from './scheme-argument.js';
import { TABLE_PREFIX_OPTION, TABLE_PREFIX_USAGE, tableNamesFrom } from './table-prefix-argument.js';

const OPTIONS = {
  url: { type: 'string' },
  ...SCHEMES_OPTION,
  ...TABLE_PREFIX_OPTION,
  app: { type: 'string' },
  migrations: { type: 'string' },
} as const;

/**
 * Applies the migrations of the library, and of one app if its module is given. Concurrent runs take turns. If the
 * process dies, the next run repeats the unfinished version.
 */
export const migrateCommand: Command = {
  usage: `migrate --url <mysql://...> ${SCHEMES_USAGE} [--app <name> --migrations <module>] ${TABLE_PREFIX_USAGE}`,
  summary: 'applies the migrations of the library',
  run: async (args, terminal) => {
    const values = readArguments(args, OPTIONS);
    const names = tableNamesFrom(values);
    const components = componentsOf(schemesFrom(values.schemes)).map(({ component, migrations }) => ({
      component,
      migrations: migrationsWith(names, migrations),
    }));
    const own = ownMigrations(values);
    const url = urlFrom(values.url, terminal, DATABASE);
    const applyAll = async (works: readonly MigrationWork[], isPinned: boolean): Promise<number> => {
      const session = await DatabaseSession.open(url, terminal.signal, isPinned);
      let count = 0;
      try {
        for (const work of works) {
          await migrateOn(session.query, { ...work, names }, ({ version, name }) => {
            count++;
            terminal.say(`${work.component} version ${version}: ${name}`);
          });
        }
      } finally {
        session.close();
      }
      return count;
    };
    const applied = (await applyAll(components, true)) + (own ? await applyAll([own], false) : 0);
    terminal.say(applied === 0 ? 'up to date, nothing to apply' : `up to date, ${applied} version(s) applied`);
    return 0;
  },
};

/** @throws UsageError, OptionsError for an impossible `compatibleFrom` */
function ownMigrations({ app, migrations: path }: { app?: string | undefined; migrations?: string | undefined }) {
  if ((app === undefined) !== (path === undefined)) throw new UsageError('--app and --migrations belong together');
  if (app === undefined || path === undefined) return undefined;
  const lists = exportedValues(loadedModule('migrations', path)).filter(isMigrationList);
  if (lists.length !== 1)
    throw new UsageError(
      `--migrations ${path} exports ${lists.length} lists of { version, name, up }; expected one list`,
    );
  const migrations = lists[0]!;
  checkWindows(app, migrations);
  return { component: app, migrations };
}

function isMigrationList(value: unknown): value is Migration[] {
  const isOne = (one: Partial<Migration> | null) =>
    Number.isInteger(one?.version) && typeof one?.name === 'string' && Array.isArray(one.up);
  return Array.isArray(value) && value.length > 0 && value.every(isOne);
}
