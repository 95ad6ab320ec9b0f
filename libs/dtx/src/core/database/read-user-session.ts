import type { DataSource } from 'typeorm';
import { OptionsError } from '../errors/errors.js';
import { libraryLogger } from '../library-logger.js';
import { binlogFlaw } from './binlog-format-check.js';
import { connectionOptionsOf } from './pinned-session-pool.js';
import { AS_THE_USERS, type UserSession } from './session-settings.js';
import type { Sql } from './sql-executor.js';

/** Settings that differ from the server default in library sessions, so the user value is always copied. */
const ALWAYS_GIVEN = ['time_zone', 'sql_mode', 'collation_connection'];
const CHARACTER_SETS = ['character_set_client', 'character_set_connection', 'character_set_results'];

/**
 * Reads the settings of a user session without changing it. Returns the settings that give a user statement the same
 * meaning in a library session.
 * @param own a library session, which shows the server defaults
 * @throws OptionsError that names an unsupported setting of the session or the server
 */
export async function readUserSession(source: DataSource, own: Sql): Promise<UserSession> {
  const options = connectionOptionsOf(source);
  if (options.queryFormat)
    throw new OptionsError('DataSource option extra.queryFormat rewrites statements of the library; remove it');
  const settings = await own.query('SHOW GLOBAL VARIABLES');
  const flaw = binlogFlaw(settings);
  if (flaw) throw new OptionsError(flaw);
  const server = new Map<string, string>(settings.map((one) => [String(one.Variable_name), String(one.Value)]));
  const session = await settingsOf(
    source,
    [...AS_THE_USERS, ...CHARACTER_SETS].filter((name) => server.has(name)),
  );
  refuseOtherCharacterSet(session, options.charset);
  warnOfBackslashes(session.get('sql_mode') ?? '');
  const isGiven = ([name, value]: [string, string]) =>
    AS_THE_USERS.includes(name) && (ALWAYS_GIVEN.includes(name) || server.get(name) !== value);
  return new Map([...session].filter(isGiven));
}

/**
 * Reads all settings as one row of texts, independent of session limits and of the number and row options of the user.
 */
async function settingsOf(source: DataSource, names: readonly string[]): Promise<Map<string, string>> {
  const columns = names.map((name, index) => `CAST(@@SESSION.${name} AS CHAR) AS v${index}`);
  const rows: unknown = await source.query(`SELECT ${columns.join(', ')}`);
  const values = flat(rows);
  return new Map(names.map((name, index) => [name, spelled(values[index] ?? '', name)]));
}

const flat = (value: unknown): string[] =>
  value !== null && typeof value === 'object' ? Object.values(value).flatMap(flat) : [String(value)];

/** SHOW prints ON and OFF where SELECT prints 1 and 0. */
function spelled(value: string, name: string): string {
  const isSwitch = /^(foreign_key_checks|check_constraint_checks|low_priority_updates|sql_quote_show_create)$/.test(
    name,
  );
  return isSwitch ? value.replace(/^1$/, 'ON').replace(/^0$/, 'OFF') : value;
}

/** Rejects a server that overrides the character set. The driver sends and reads the bytes of the requested one. */
function refuseOtherCharacterSet(session: UserSession, charset: unknown): void {
  const asked = serverName(typeof charset === 'string' ? charset : 'utf8mb4');
  for (const name of CHARACTER_SETS) {
    const given = session.get(name) ?? '';
    if (serverName(given) === asked) continue;
    throw new OptionsError(
      `wrong character set in the sessions of the DataSource: ${name} = ${given}, the driver asked for ${asked}; let the ` +
        'server take the character set of its clients, or call pinSessions(dataSource)',
    );
  }
}

/** Normalizes the old name of the three-byte set, and collations to their sets. */
function serverName(charset: string): string {
  return charset
    .toLowerCase()
    .split('_')[0]!
    .replace(/^utf8$/, 'utf8mb3');
}

function warnOfBackslashes(mode: string): void {
  if (!mode.split(',').includes('NO_BACKSLASH_ESCAPES')) return;
  libraryLogger('database').warn(
    'sql_mode of the DataSource has NO_BACKSLASH_ESCAPES, and mysql2 escapes with backslashes: texts in your own ' +
      'statements can leave their quotes; remove it from sql_mode, or call pinSessions(dataSource)',
  );
}
