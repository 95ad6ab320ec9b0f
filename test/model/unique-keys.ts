// The unique keys of the library's tables, read from its migrations.
import type { Migration } from '../../libs/dtx/src/core/database/migrate.js';
import type { Row } from './statements.js';

const knownKeys = new WeakMap<readonly Migration[], Map<string, string[][]>>();

/** The unique keys that the library's own migrations end with. */
export function keysOf(migrations: readonly Migration[]): Map<string, string[][]> {
  const known = knownKeys.get(migrations);
  if (known) return known;
  const tables = new Map<string, string[][]>();
  knownKeys.set(migrations, tables);
  const texts = migrations.flatMap(({ up }) =>
    up.map((one) => (typeof one === 'string' ? one : (one as { sql: string }).sql)),
  );
  for (const text of texts) {
    const [, created] = /^\s*CREATE TABLE IF NOT EXISTS (\w+)/.exec(text) ?? [];
    const [, altered] = /^\s*ALTER TABLE (\w+)/.exec(text) ?? [];
    const table = created ?? altered;
    if (!table) continue;
    const columns = (list: string) => list.split(',').map((name) => name.trim());
    const [, single] = /^\s*(\w+) [^,\n]*PRIMARY KEY,?$/m.exec(text) ?? [];
    const [, primary] = /PRIMARY KEY \(([^)]*)\)/.exec(text) ?? [];
    const kept = text.includes('DROP PRIMARY KEY') ? [] : (tables.get(table) ?? []);
    const unique = [...text.matchAll(/UNIQUE KEY \w+ \(([^)]*)\)/g)].map(([, list]) => columns(list!));
    tables.set(table, [...kept, ...(single ? [[single]] : []), ...(primary ? [columns(primary)] : []), ...unique]);
  }
  return tables;
}

/** Two NULLs are never the same. */
export function isSameKey(key: readonly string[], one: Row, other: Row): boolean {
  return key.every((column) => one[column] !== null && one[column] !== undefined && one[column] === other[column]);
}
