import { once } from 'node:events';
import { type Connection, createConnection } from 'mysql2';
import { beforeAll, expect, test } from 'vitest';
import { tapOf } from '../../../libs/dtx/src/core/database/intercepted-connection.js';
import type { RawConnection } from '../../../libs/dtx/src/core/database/mysql2-types.js';
import { failedAt } from '../../../libs/dtx/src/core/database/packet.js';
import { isUnavailable } from '../../../libs/dtx/src/core/errors/sql-errors.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';

let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await freshSandbox('closed_connection', { audited: false });
});

/** A connection that the server has ended, as it does when it is killed between two statements of a transaction. */
async function endedByServer(): Promise<Connection> {
  const connection = createConnection({ uri: sandbox.databases.payment, multipleStatements: true });
  await once(connection, 'connect');
  const ended = once(connection, 'error');
  await sql(sandbox, 'payment', `KILL ${connection.threadId}`);
  await ended;
  return connection;
}

test.each([
  ['alone', (tap: ReturnType<typeof tapOf>) => tap.ask('SELECT 1')],
  [
    'in one packet with others',
    (tap: ReturnType<typeof tapOf>) => tap.askTogether([{ sql: 'SELECT 1' }, { sql: 'COMMIT' }]),
  ],
])('a statement that is sent %s on a closed connection fails as unavailable, and none was run', async (_, send) => {
  const error = await send(tapOf((await endedByServer()) as unknown as RawConnection)).then(
    () => expect.unreachable('the connection was open'),
    (failure: unknown) => failure,
  );
  expect(String(error)).toMatch(/closed state/);
  expect(isUnavailable(error)).toBe(true);
  expect(failedAt(error) ?? 0).toBe(0);
});
