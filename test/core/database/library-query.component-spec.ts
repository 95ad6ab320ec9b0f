import { createConnection } from 'mysql2';
import { beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { tapOf } from '../../../libs/dtx/src/core/database/intercepted-connection.js';
import type { RawConnection } from '../../../libs/dtx/src/core/database/mysql2-types.js';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';

const READ = `SELECT TIMESTAMP '2026-12-01 03:04:05.678' AS at, 9007199254740993 AS big`;
const ANSWER = [{ at: '2026-12-01 03:04:05.678', big: '9007199254740993' }];
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await freshSandbox('library_query', { audited: false });
});

/** A connection of an app whose options read other forms than the library does. */
function connectionOfApp() {
  const uri = sandbox.databases.payment;
  const connection = createConnection({ uri, rowsAsArray: true, multipleStatements: true });
  onTestFinished(() => connection.destroy());
  return connection;
}

const withCreateQuery = (connection: object) => connection;

/** As a version of mysql2 whose connections have no `createQuery`. */
function withoutCreateQuery(connection: object) {
  return Object.defineProperty(connection, 'constructor', { value: class {} });
}

test.each([
  ['of a command', withCreateQuery],
  ['of options', withoutCreateQuery],
])('library statements have the same form of answers by means %s, whatever the pool options are', async (_, given) => {
  const tap = tapOf(given(connectionOfApp()) as RawConnection);
  expect(await tap.ask(READ)).toEqual(ANSWER);
  expect(await tap.askTogether([{ sql: 'DO 1' }, { sql: READ }])).toEqual([expect.anything(), ANSWER]);
  await expect(tap.ask('SELECT * FROM no_such_table')).rejects.toMatchObject({ code: 'ER_NO_SUCH_TABLE' });
});

test('an agent that wraps query sees a statement of the library as one command with its callback', async () => {
  const connection = connectionOfApp();
  const query = vi.spyOn(connection, 'query');
  await tapOf(connection as unknown as RawConnection).ask('SELECT 1 AS one');
  const [command, ...others] = query.mock.calls[0]!;
  expect(others).toEqual([]);
  expect(command).toMatchObject({ sql: 'SELECT 1 AS one', onResult: expect.any(Function) });
});
