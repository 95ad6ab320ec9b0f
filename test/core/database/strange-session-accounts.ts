import { type Sandbox, sql } from '../../fixtures/sandbox.js';
import { APPS } from '../../fixtures/three-apps.js';

/**
 * Servers as strangers run them: each is an account of the test servers to which they give other sessions than to all
 * others, by `init_connect`, which runs for accounts without administrator rights.
 */
export const STRANGE: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  backslash: { sql_mode: `'STRICT_TRANS_TABLES,NO_BACKSLASH_ESCAPES'` },
  loose: { sql_mode: `''` },
  ansi: {
    sql_mode: `'STRICT_TRANS_TABLES,ANSI_QUOTES,PIPES_AS_CONCAT,IGNORE_SPACE,HIGH_NOT_PRECEDENCE,PAD_CHAR_TO_FULL_LENGTH'`,
  },
  east: { time_zone: `'+08:00'` },
  serial: { transaction_isolation: `'SERIALIZABLE'` },
  impatient: { lock_wait_timeout: '1', innodb_lock_wait_timeout: '1', wait_timeout: '10' },
  manual: { autocommit: '0' },
  chaining: { completion_type: 'CHAIN' },
  clipped: { sql_select_limit: '1', group_concat_max_len: '4', sql_safe_updates: '1' },
  latin: { character_set_client: 'latin1', character_set_connection: 'latin1', character_set_results: 'latin1' },
};

const ONLY_MARIADB: typeof STRANGE = {
  empty: { sql_mode: `'STRICT_TRANS_TABLES,EMPTY_STRING_IS_NULL'` },
  oracle: { sql_mode: `'STRICT_TRANS_TABLES,ORACLE'` },
  simultaneous: { sql_mode: `'STRICT_TRANS_TABLES,SIMULTANEOUS_ASSIGNMENT'` },
};

const PASSWORD = 'strange-Passw0rd';

/** Makes the accounts and gives them their sessions, on all servers of a sandbox. Answers the names of those that there are. */
export async function prepareStrange(sandbox: Sandbox): Promise<string[]> {
  const [{ version }] = (await sql<{ version: string }>(sandbox, 'payment', 'SELECT VERSION() AS version')) as [
    { version: string },
  ];
  const isMariaDb = /mariadb/i.test(version);
  const all = { ...STRANGE, ...(isMariaDb ? ONLY_MARIADB : {}) };
  for (const app of APPS) {
    for (const name of Object.keys(all)) {
      await makeAccount(sandbox, app, name);
      if (!isMariaDb) await sql(sandbox, app, `GRANT XA_RECOVER_ADMIN ON *.* TO '${accountOf(name)}'@'%'`);
    }
    await sql(sandbox, app, 'SET GLOBAL init_connect = ?', [initConnect(all, isMariaDb)]);
  }
  return Object.keys(all);
}

const accountOf = (name: string) => `strange_${name}`;

async function makeAccount(sandbox: Sandbox, app: (typeof APPS)[number], name: string): Promise<void> {
  const account = `'${accountOf(name)}'@'%'`;
  await sql(sandbox, app, `CREATE USER IF NOT EXISTS ${account} IDENTIFIED BY '${PASSWORD}'`);
  const database = new URL(sandbox.databases[app]).pathname.slice(1);
  await sql(sandbox, app, `GRANT ALL ON \`${database}\`.* TO ${account}`);
}

/** One SET for all accounts. A variable gets the value of its account, or keeps its own. */
function initConnect(all: typeof STRANGE, isMariaDb: boolean): string {
  const names = new Set(Object.values(all).flatMap((settings) => Object.keys(settings)));
  const own = (name: string) => (isMariaDb ? name.replace(/^transaction_/, 'tx_') : name);
  const values = [...names].map((name) => {
    const cases = Object.entries(all)
      .filter(([, settings]) => name in settings)
      .map(([account, settings]) => `WHEN '${accountOf(account)}' THEN ${textOf(settings[name]!)}`);
    const variable = `@@SESSION.${own(name)}`;
    const value = `CASE SUBSTRING_INDEX(USER(), '@', 1) ${cases.join(' ')} ELSE ${variable} END`;
    const isNumber = Object.values(all).every((settings) => /^\d+$/.test(settings[name] ?? '0'));
    // MySQL does not take a choice between numbers as the value of a variable.
    return `${variable} = ${isNumber ? `CAST(${value} AS UNSIGNED)` : value}`;
  });
  return `SET ${values.join(', ')}`;
}

const textOf = (value: string) => (/^[a-z]/i.test(value) ? `'${value}'` : value);

/** The URL of a database for one of the accounts. */
export function strangeUrl(sandbox: Sandbox, app: (typeof APPS)[number], name: string): string {
  const url = new URL(sandbox.databases[app]);
  url.username = accountOf(name);
  url.password = PASSWORD;
  return url.href;
}

/** The whole sandbox through one of the accounts. */
export function strangeSandbox(sandbox: Sandbox, name: string): Sandbox {
  const databases = Object.fromEntries(
    APPS.map((app) => [app, strangeUrl(sandbox, app, name)]),
  ) as Sandbox['databases'];
  return { ...sandbox, databases };
}
