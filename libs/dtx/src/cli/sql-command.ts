import { recordedSchema } from '../core/database/migrate.js';
import type { TableNames } from '../core/database/table-prefix.js';
import type { TableScheme } from '../schema/schema-components.js';
import { dtxGrantSql, schemaSteps, versionsTableSql } from '../schema/table-sql.js';
import { type Command, DATABASE, readArguments, type Terminal, UsageError, urlFrom } from './command.js';
import { DatabaseSession } from './database-session.js';
import { SCHEMES_OPTION, SCHEMES_USAGE, schemesFrom } from './scheme-argument.js';
import { TABLE_PREFIX_OPTION, TABLE_PREFIX_USAGE, tableNamesFrom } from './table-prefix-argument.js';

const OPTIONS = {
  url: { type: 'string' },
  from: { type: 'string' },
  account: { type: 'string' },
  ...SCHEMES_OPTION,
  ...TABLE_PREFIX_OPTION,
} as const;

/** Prints a script for an administrator. It runs on MySQL and MariaDB, and a second run changes nothing. */
export const sqlCommand: Command = {
  usage: `sql [--from status --url <mysql://...>] ${SCHEMES_USAGE} [--account "'user'@'host'"] ${TABLE_PREFIX_USAGE}`,
  summary: 'prints the SQL of the tables and the GRANTs for an administrator',
  run: async (args, terminal) => {
    const values = readArguments(args, OPTIONS);
    if (values.from !== undefined && values.from !== 'status') throw new UsageError('--from: expected status');
    const schemes = schemesFrom(values.schemes);
    const names = tableNamesFrom(values);
    const url = values.from && urlFrom(values.url, terminal, DATABASE);
    const recorded = url ? await recordedAt(url, names, terminal) : undefined;
    const { prefix: tablePrefix } = names;
    terminal.say('-- Run it in the database of the app, in one session. A second run changes nothing.');
    for (const statement of versionsTableSql({ tablePrefix })) terminal.say(`${statement};`);
    for (const { component, version, name, statements } of schemaSteps({ schemes, recorded, tablePrefix })) {
      terminal.say(`\n-- ${component} version ${version}: ${name}`);
      for (const statement of statements) terminal.say(`${statement};`);
    }
    sayGrants(values.account, { schemes, tablePrefix }, terminal);
    return 0;
  },
};

async function recordedAt(url: string, names: TableNames, { signal }: Terminal) {
  const session = await DatabaseSession.open(url, signal);
  try {
    return (await recordedSchema(session.query, 'the look at the versions', names))?.versions;
  } finally {
    session.close();
  }
}

/** Without an account the GRANTs are comments, so the script runs as it is. */
function sayGrants(
  account: string | undefined,
  { schemes, tablePrefix }: { schemes: readonly TableScheme[]; tablePrefix: string },
  { say }: Terminal,
): void {
  say('\n-- Rights of the app at run time. Its own tables come on top.');
  const prefix = account === undefined ? '-- ' : '';
  for (const grant of dtxGrantSql(account ?? `'user'@'host'`, schemes, tablePrefix)) say(`${prefix}${grant};`);
}
