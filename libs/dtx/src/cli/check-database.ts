import { DataSource } from 'typeorm';
import { NOW_MS } from '../core/database/clock-sql.js';
import { recordedSchema } from '../core/database/migrate.js';
import { readUserSession } from '../core/database/read-user-session.js';
import {
  isShutOut,
  NO_SUCH_TABLE,
  NOTHING_RECORDED,
  type RecordedSchema,
  versionOf,
  versionText,
} from '../core/database/schema-versions.js';
import { windowText } from '../core/database/schema-window.js';
import type { Sql } from '../core/database/sql-executor.js';
import type { TableNames } from '../core/database/table-prefix.js';
import { OptionsError, textOf } from '../core/errors/errors.js';
import { errnoOf } from '../core/errors/sql-errors.js';
import {
  componentsOf,
  SCHEMA_COMPONENTS,
  TABLE_SCHEMES,
  type TableScheme,
  tablesOf,
} from '../schema/schema-components.js';
import { FLUSH_COLUMNS, flushFlaw, vendorOf } from '../xa/commit-flush-check.js';
import { dialectOf } from '../xa/dialect.js';
import { isOlder, OLDEST } from '../xa/supported-servers.js';
import { addressFrom, DatabaseSession } from './database-session.js';
import type { Report } from './finding.js';

/** Ages of messages are compared between database servers, so their clocks must roughly agree. */
const CLOCK_OFF_MAX_MS = 60_000;

/** The tables of the app. */
interface Tables {
  readonly schemes: readonly TableScheme[];
  readonly names: TableNames;
}

/**
 * Checks the database of an app with the account of the app. No check changes a row: statements that need a right have
 * the condition FALSE.
 */
export async function checkDatabase(
  url: string,
  { signal, ...tables }: Tables & { readonly signal: AbortSignal },
  report: Report,
): Promise<void> {
  const address = addressFrom(url);
  let session: DatabaseSession;
  try {
    session = await DatabaseSession.open(url, signal);
  } catch (error) {
    return report({
      what: 'database',
      isOk: false,
      text: `cannot connect: ${textOf(error)}; check address and account`,
    });
  }
  try {
    await checkServer(session, report);
    await checkSession(session, address, report);
    await checkClock(session, report);
    const isThere = await checkSchema(session, tables, report);
    if (isThere) await checkRights(session, tables, report);
    const { schemes } = tables;
    if (schemes.some((scheme) => scheme.startsWith('xa'))) await checkXa(session, schemes, report);
  } finally {
    session.close();
  }
}

async function checkServer({ query }: DatabaseSession, report: Report): Promise<void> {
  const [row] = await query('SELECT VERSION() AS version');
  const version = String(row!.version);
  const vendor = vendorOf(version);
  const oldest = OLDEST[vendor];
  const isOk = !isOlder(version, oldest);
  const needs = isOk ? '' : `; upgrade to ${vendor} ${oldest.join('.')} or newer`;
  report({ what: 'database server', isOk, text: `${vendor} ${version}${needs}` });
}

/** The same checks of server and session settings as at the start of an app. */
async function checkSession(
  { query }: DatabaseSession,
  { user: username, ...address }: ReturnType<typeof addressFrom>,
  report: Report,
): Promise<void> {
  const what = 'database settings';
  const source = new DataSource({ type: 'mysql', ...address, username } as ConstructorParameters<typeof DataSource>[0]);
  try {
    await source.initialize();
    await readUserSession(source, { query } as Sql);
    report({ what, isOk: true, text: 'the library can work with the settings of server and session' });
  } catch (error) {
    report({ what, isOk: false, text: textOf(error) });
  } finally {
    if (source.isInitialized) await source.destroy();
  }
}

async function checkClock({ query }: DatabaseSession, report: Report): Promise<void> {
  const before = Date.now();
  const [row] = await query(`SELECT ${NOW_MS} AS ms`);
  const offMs = Math.round(Number(row!.ms) - (before + Date.now()) / 2);
  const isOk = Math.abs(offMs) <= CLOCK_OFF_MAX_MS;
  const advice = isOk
    ? ''
    : '; set the clocks of all servers by NTP, because ages of messages are compared between them';
  report({ what: 'database clock', isOk, text: `${offMs} ms from the clock of this machine${advice}` });
}

async function checkSchema({ query }: DatabaseSession, { schemes, names }: Tables, report: Report) {
  const what = 'database schema';
  try {
    const schema = (await recordedSchema(query, 'the look at the versions', names)) ?? NOTHING_RECORDED;
    const versions = componentsOf(schemes).map((one) => versionOf(one.component, one.migrations, schema));
    const behind = versions.filter(({ present, needed }) => present < needed);
    const isOfFewer = schemes.length === TABLE_SCHEMES.length && behind.some(({ present }) => present === 0);
    const orFewer = isOfFewer ? ', or name the schemes of this app with --schemes' : '';
    const remedy = `run npx nest-dtx migrate${names.argument}${orFewer}`;
    const newer = versions
      .filter(isShutOut)
      .map(({ component, window }) => `${component} is at ${windowText(window!)}`);
    const problems = [
      ...(behind.length > 0 ? [`${behind.map(versionText).join(', ')}; ${remedy}`] : []),
      ...(newer.length > 0 ? [`${newer.join(', ')}; install the release of nest-dtx that made it`] : []),
    ];
    report({ what, isOk: problems.length === 0, text: problems.join('; ') || upToDateText(schema.windows) });
    return behind.length < versions.length;
  } catch (error) {
    report({ what, isOk: false, text: textOf(error) });
    return false;
  }
}

/** XA of another app works here only inside of the windows of the app's own components. */
function upToDateText(windows: RecordedSchema['windows']): string {
  const isOfLibrary = (name: string) => SCHEMA_COMPONENTS.some(({ component }) => component === name);
  const ofApps = [...windows].filter(([component]) => !isOfLibrary(component));
  return ['up to date', ...ofApps.map(([component, window]) => `${component} is at ${windowText(window)}`)].join(', ');
}

async function checkRights({ query }: DatabaseSession, { schemes, names }: Tables, report: Report): Promise<void> {
  const tables = tablesOf(componentsOf(schemes)).map((one) => ({ ...one, name: names.inDatabase(one.name) }));
  const missing: string[] = [];
  for (const { name, column } of tables) {
    const tries = {
      SELECT: `SELECT 1 FROM ${name} WHERE FALSE`,
      INSERT: `INSERT INTO ${name} SELECT * FROM ${name} WHERE FALSE`,
      UPDATE: `UPDATE ${name} SET ${column} = ${column} WHERE FALSE`,
      DELETE: `DELETE FROM ${name} WHERE FALSE`,
    };
    for (const [right, sql] of Object.entries(tries)) {
      try {
        await query(sql);
      } catch (error) {
        // The check of the schema reports a missing table.
        if (errnoOf(error) !== NO_SUCH_TABLE) missing.push(`${right} on ${name} (${textOf(error)})`);
      }
    }
  }
  const what = 'database rights';
  if (missing.length === 0)
    report({ what, isOk: true, text: `SELECT, INSERT, UPDATE and DELETE on ${tables.length} tables` });
  else
    report({
      what,
      isOk: false,
      text: `cannot ${missing.join(', ')}; npx nest-dtx sql --from status prints the GRANTs`,
    });
}

async function checkXa({ query }: DatabaseSession, schemes: readonly TableScheme[], report: Report): Promise<void> {
  const [row] = await query(`SELECT ${FLUSH_COLUMNS}`);
  const flaw = flushFlaw(row!);
  report({ what: 'XA flush', isOk: flaw === null, text: flaw ?? 'every COMMIT is on disk before it is answered' });
  if (!schemes.includes('xa-participant')) return;
  const what = 'XA branches';
  try {
    await dialectOf((sql) => query(sql));
    report({ what, isOk: true, text: 'the account lists prepared branches and begins a branch' });
  } catch (error) {
    const advice =
      error instanceof OptionsError ? '' : '; leave xa-participant out of --schemes if no branch works here';
    report({ what, isOk: false, text: `${textOf(error)}${advice}` });
  }
}
