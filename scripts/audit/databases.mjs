// The three databases of a world, read only. Big integers come back as BigInt: sums of money must stay exact.
import { DATABASES } from '../infra/place.mjs';

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Opens the databases of a world. One that does not exist (never made, or dropped since) has no tables.
 * `query(app, sql, values)` gives rows; `has(app, table)` and `columnsOf(app, table)` tell what is there.
 */
export async function openDatabases(world) {
  const opened = {};
  const close = async () => {
    for (const database of Object.values(opened)) await database?.connection.end().catch(() => {});
  };
  try {
    for (const app of DATABASES) opened[app] = await openDatabase(world.databases[app]);
  } catch (error) {
    await close();
    throw error;
  }
  const columnsOf = (app, table) => opened[app]?.columns.get(table) ?? new Set();
  return {
    apps: DATABASES.filter((app) => opened[app]),
    has: (app, table) => columnsOf(app, table).size > 0,
    columnsOf,
    tablesOf: (app) => [...(opened[app]?.columns.keys() ?? [])],
    query: async (app, sql, values = []) => (await opened[app].connection.query(sql, values))[0],
    close,
  };
}

async function openDatabase(uri) {
  const { createConnection } = await import('mysql2/promise');
  const options = { uri, timezone: 'Z', charset: 'utf8mb4', connectTimeout: CONNECT_TIMEOUT_MS, typeCast };
  const connection = await createConnection(options).catch((error) => {
    if (error.code === 'ER_BAD_DB_ERROR') return null;
    throw error;
  });
  if (!connection) return null;
  await connection.query("SET SESSION time_zone = '+00:00'");
  await connection.query('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');
  const [rows] = await connection.query(
    'SELECT table_name AS tbl, column_name AS col FROM information_schema.columns WHERE table_schema = DATABASE()',
  );
  const columns = new Map();
  for (const { tbl, col } of rows) columns.set(tbl, (columns.get(tbl) ?? new Set()).add(col));
  return { connection, columns };
}

function typeCast(field, next) {
  if (field.type !== 'LONGLONG' && field.type !== 'NEWDECIMAL') return next();
  const text = field.string();
  return text !== null && /^-?\d+$/.test(text) ? BigInt(text) : text;
}
