import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ROOT } from '../../fixtures/app-process.js';
import { built } from '../../fixtures/built-library.js';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

/** The page that lists every setting of a session with a decision is complete and true. */
const page = readFileSync(join(ROOT, 'docs', 'sessions.md'), 'utf8');
const load = createRequire(import.meta.url);
const library = libraryOf();
let sandbox: Sandbox;
let service: LittleService;
let handler: Map<string, string>;

interface Row {
  readonly names: readonly string[];
  readonly decision: string;
  readonly because: string;
}

function rowsOf(heading: string): Row[] {
  const section = page.split(/^## /m).find((part) => part.startsWith(heading))!;
  const rows = section.split('\n').filter((line) => line.startsWith('| `'));
  return rows.map((line) => {
    const [names = '', decision = '', because = ''] = line
      .split('|')
      .slice(1)
      .map((cell) => cell.trim());
    return { names: [...names.matchAll(/`([^`]+)`/g)].map((match) => match[1]!), decision, because };
  });
}

const namesOf = (rows: readonly Row[]) => rows.flatMap(({ names }) => names);
const settingRows = rowsOf('Settings of the servers');

beforeAll(async () => {
  sandbox = await freshSandbox('sessions_page', { audited: false });
  const contract = contractOf(library, 'message');
  const seen: Array<Array<{ Variable_name: string; Value: string }>> = [];
  const on = async (tx: { query(text: string): Promise<never> }) =>
    void seen.push(await tx.query('SHOW SESSION VARIABLES'));
  service = await LittleService.start({
    sandbox,
    library,
    controllers: [controllerOf([[library.OnMessage(contract), on]])],
  });
  await service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, contract, { gid: 'g' }));
  const [rows] = await until('the handler has run', () => seen.length > 0 && seen);
  handler = new Map(rows!.map((row) => [row.Variable_name.toLowerCase(), row.Value]));
});

afterAll(() => service?.close());

describe('the settings of the servers', () => {
  test('the page has one decision and a reason for each setting of a session of this server', async () => {
    const isMariaDb = handler.has('system_versioning_asof');
    const query = isMariaDb
      ? `SELECT LOWER(variable_name) AS name FROM information_schema.system_variables WHERE variable_scope LIKE '%SESSION%'`
      : `SELECT LOWER(variable_name) AS name FROM performance_schema.variables_metadata WHERE variable_scope LIKE 'SESSION%'`;
    const ofServer = (await sql<{ name: string }>(sandbox, 'payment', query)).map(({ name }) => name);
    const listed = namesOf(settingRows);
    expect(ofServer.length).toBeGreaterThan(100);
    expect(ofServer.filter((name) => !listed.includes(name))).toEqual([]);
    expect(listed.filter((name, index) => listed.indexOf(name) !== index)).toEqual([]);
    expect(settingRows.filter(({ because }) => because.length < 10)).toEqual([]);
  });

  test('the sessions of the library have the values that the page calls pinned', async () => {
    const rows: Array<{ Variable_name: string; Value: string }> = await service
      .get(library.Database)
      .own.query('SHOW SESSION VARIABLES');
    const own = new Map(rows.map((row) => [row.Variable_name.toLowerCase(), row.Value]));
    const pinned = {
      character_set_client: 'utf8mb4',
      character_set_connection: 'utf8mb4',
      character_set_results: 'utf8mb4',
      autocommit: 'ON',
      completion_type: 'NO_CHAIN',
      innodb_lock_wait_timeout: '1',
      lock_wait_timeout: '1',
      unique_checks: 'ON',
      sql_safe_updates: 'OFF',
      sql_big_selects: 'ON',
      sql_auto_is_null: 'OFF',
    };
    for (const session of [own, handler]) {
      expect(Object.fromEntries(session)).toMatchObject(pinned);
      expect(session.get('tx_isolation') ?? session.get('transaction_isolation')).toBe('READ-COMMITTED');
      expect(session.get('tx_read_only') ?? session.get('transaction_read_only')).toBe('OFF');
      expect(session.get('sql_mode')).toContain('STRICT_TRANS_TABLES');
    }
    expect(own.get('time_zone')).toBe('+00:00');
    expect(own.get('wait_timeout')).toBe('8');
    const named = settingRows.filter(({ decision }) => decision.includes('pinned')).flatMap(({ names }) => names);
    expect(named).toEqual(expect.arrayContaining(Object.keys(pinned)));
  });

  test('the library takes over the settings that the page calls the user’s', () => {
    const yours = settingRows.filter(({ decision }) => decision.includes('yours')).flatMap(({ names }) => names);
    const { AS_THE_USERS } = built('core/database/session-settings.js');
    expect(yours.sort()).toEqual([...AS_THE_USERS].sort());
  });
});

test('the page lists every option of the driver', () => {
  const text = readFileSync(join(dirname(load.resolve('mysql2/package.json')), 'lib', 'connection_config.js'), 'utf8');
  const known = /const validOptions = \{([^}]*)\}/.exec(text)![1]!.replace(/\/\/.*/g, '');
  const options = [...known.matchAll(/(\w+):/g)].map((match) => match[1]!);
  const listed = namesOf(rowsOf('Options of the driver'));
  expect(options.length).toBeGreaterThan(40);
  expect(options.filter((name) => !listed.includes(name))).toEqual([]);
});

test('the page lists every option of the DataSource', () => {
  const root = dirname(load.resolve('typeorm'));
  const files = ['driver/mysql/MysqlDataSourceOptions.d.ts', 'data-source/BaseDataSourceOptions.d.ts'];
  const options = files.flatMap((file) =>
    [...readFileSync(join(root, file), 'utf8').matchAll(/readonly (\w+)\??:/g)].map((match) => match[1]!),
  );
  const listed = namesOf(rowsOf('Options of the DataSource'));
  expect(options.length).toBeGreaterThan(40);
  expect([...new Set(options)].filter((name) => !listed.includes(name))).toEqual([]);
});
