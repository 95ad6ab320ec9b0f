import { recordedVersions } from '../core/database/migrate.js';
import { type ComponentVersion, versionOf } from '../core/database/schema-versions.js';
import { componentsOf } from '../schema/schema-components.js';
import { type Command, DATABASE, readArguments, urlFrom } from './command.js';
import { DatabaseSession } from './database-session.js';
import { SCHEMES_OPTION, SCHEMES_USAGE, schemesFrom } from './scheme-argument.js';
import { TABLE_PREFIX_OPTION, TABLE_PREFIX_USAGE, tableNamesFrom } from './table-prefix-argument.js';

const OPTIONS = { url: { type: 'string' }, ...SCHEMES_OPTION, ...TABLE_PREFIX_OPTION } as const;
export const BEHIND = 2;

/** Shows the needed and the present version of each component. It needs no right but SELECT. */
export const statusCommand: Command = {
  usage: `status --url <mysql://...> ${SCHEMES_USAGE} ${TABLE_PREFIX_USAGE}`,
  summary: `shows needed and present versions, and exits with ${BEHIND} if the schema is behind`,
  run: async (args, terminal) => {
    const values = readArguments(args, OPTIONS);
    const components = componentsOf(schemesFrom(values.schemes));
    const names = tableNamesFrom(values);
    const session = await DatabaseSession.open(urlFrom(values.url, terminal, DATABASE), terminal.signal);
    try {
      const recorded = (await recordedVersions(session.query, 'the look at the versions', names)) ?? new Map();
      const versions = components.map(({ component, migrations }) => versionOf(component, migrations, recorded));
      for (const one of versions) terminal.say(lineOf(one));
      const isBehind = versions.some((one) => one.present < one.needed);
      terminal.say(isBehind ? `behind: run npx nest-dtx migrate${names.argument}` : 'up to date');
      return isBehind ? BEHIND : 0;
    } finally {
      session.close();
    }
  },
};

const NAME_WIDTH = 20;

function lineOf({ component, present, needed }: ComponentVersion): string {
  const state = present < needed ? 'behind' : 'ok';
  return `${state.padEnd(7)} ${component.padEnd(NAME_WIDTH)} needed ${needed}, present ${present || 'none'}`;
}
