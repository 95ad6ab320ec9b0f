import { createConnection } from 'mysql2/promise';
import type { Sandbox } from '../fixtures/sandbox.js';
import { ALL } from './little-xa.js';

/** The three databases copied table by table, each on its own server: a restored backup of the whole deployment. */
export async function copyOf(original: Sandbox): Promise<Sandbox> {
  const databases = { ...original.databases };
  for (const app of ALL) {
    const from = new URL(original.databases[app]).pathname.slice(1);
    const to = `${from}_copy`;
    const connection = await createConnection({ uri: original.databases[app], multipleStatements: true });
    // Prepared branches are not copied, and not waited for.
    await connection.query('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');
    const [tables] = (await connection.query('SHOW TABLES')) as unknown as [Array<Record<string, string>>];
    await connection.query(`DROP DATABASE IF EXISTS ${to}; CREATE DATABASE ${to} CHARACTER SET utf8mb4`);
    for (const table of tables.map((row) => Object.values(row)[0]))
      await connection.query(
        `CREATE TABLE ${to}.${table} LIKE ${table}; INSERT INTO ${to}.${table} SELECT * FROM ${table}`,
      );
    await connection.end();
    databases[app] = original.databases[app].replace(from, to);
  }
  return { ...original, name: `${original.name}_copy`, databases };
}
