// Asks a database server through the address and account that an app would use.
import { createConnection } from 'mysql2/promise';
import { serverUrlParts } from './server-url.js';

const TIMEOUT_MS = 5_000;

/** Resolves once the server has answered a statement. Rejects with the driver's error. */
export async function askDatabase(uri: string): Promise<void> {
  const { host, port, user, password } = serverUrlParts(uri);
  const connection = await createConnection({ uri, host, port, user, password, connectTimeout: TIMEOUT_MS });
  connection.on('error', () => {}); // the statement rejects as well
  try {
    await connection.query({ sql: 'SELECT 1', timeout: TIMEOUT_MS });
  } finally {
    connection.destroy();
  }
}
