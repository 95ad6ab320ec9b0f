import { recordedSchema } from '../core/database/migrate.js';
import { type ComponentVersion, isShutOut, NOTHING_RECORDED, versionOf } from '../core/database/schema-versions.js';
import { type SchemaWindow, windowText } from '../core/database/schema-window.js';
import { componentsOf, SCHEMA_COMPONENTS } from '../schema/schema-components.js';
import { type Command, DATABASE, readArguments, urlFrom } from './command.js';
import { DatabaseSession } from './database-session.js';
import { SCHEMES_OPTION, SCHEMES_USAGE, schemesFrom } from './scheme-argument.js';
import { TABLE_PREFIX_OPTION, TABLE_PREFIX_USAGE, tableNamesFrom } from './table-prefix-argument.js';

const OPTIONS = { url: { type: 'string' }, ...SCHEMES_OPTION, ...TABLE_PREFIX_OPTION } as const;
export const BEHIND = 2;

/**
 * Shows the needed and the present version of each component of the library, and the window of each component of an app.
 * It needs no right but SELECT.
 */
export const statusCommand: Command = {
  usage: `status --url <mysql://...> ${SCHEMES_USAGE} ${TABLE_PREFIX_USAGE}`,
  summary: `shows needed and present versions, and exits with ${BEHIND} if the schema is behind or too new`,
  run: async (args, terminal) => {
    const values = readArguments(args, OPTIONS);
    const components = componentsOf(schemesFrom(values.schemes));
    const names = tableNamesFrom(values);
    const session = await DatabaseSession.open(urlFrom(values.url, terminal, DATABASE), terminal.signal);
    try {
      const schema = (await recordedSchema(session.query, 'the look at the versions', names)) ?? NOTHING_RECORDED;
      const versions = components.map(({ component, migrations }) => versionOf(component, migrations, schema));
      for (const one of versions) terminal.say(lineOf(one));
      for (const [component, window] of schema.windows)
        if (!isOfLibrary(component))
          terminal.say(`${'app'.padEnd(7)} ${component.padEnd(NAME_WIDTH)} ${windowText(window)}`);
      if (versions.some(isShutOut)) {
        terminal.say('newer than this nest-dtx: install the release that made the newest migration');
        return BEHIND;
      }
      const isBehind = versions.some((one) => one.present < one.needed);
      terminal.say(isBehind ? `behind: run npx nest-dtx migrate${names.argument}` : 'up to date');
      return isBehind ? BEHIND : 0;
    } finally {
      session.close();
    }
  },
};

const NAME_WIDTH = 20;

function lineOf(one: ComponentVersion): string {
  const { component, present, needed, window } = one;
  const state = present < needed ? 'behind' : isShutOut(one) ? 'newer' : 'ok';
  const text = `needed ${needed}, present ${present || 'none'}`;
  return `${state.padEnd(7)} ${component.padEnd(NAME_WIDTH)} ${text}${window ? laterText(needed, window) : ''}`;
}

/** A later release has migrated, and its statements say which earlier ones may go on. */
function laterText(needed: number, { latest, statedFrom }: SchemaWindow): string {
  if (latest <= needed) return '';
  return `, migrated to ${windowText({ latest, from: statedFrom || 1 })}`;
}

function isOfLibrary(component: string): boolean {
  return SCHEMA_COMPONENTS.some((one) => one.component === component);
}
