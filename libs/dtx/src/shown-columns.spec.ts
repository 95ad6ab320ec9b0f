import { describe, expect, it } from 'vitest';
import { type TableRow, VIEW_COLUMNS } from './core/durable/durable-table.js';
import { durableTables } from './testing/index.js';

const shownTables = durableTables.filter(({ shown }) => shown);
/** Each state, and each kind of row that the texts of a table tell apart. */
const IDS = ['any', 'log.lost', 'verdicts.lost'];

/** A row that notes the columns that are read from it. */
function noting(read: Set<string>, row: TableRow): TableRow {
  return new Proxy(row, {
    get: (target, name) => {
      read.add(String(name));
      return Reflect.get(target, name);
    },
  });
}

describe('the view of a table', () => {
  it.each(shownTables.map((table) => [table.name, table] as const))('of %s reads its own columns only', (_, table) => {
    const { shown, openStates } = table;
    const known = [...VIEW_COLUMNS, 'scheme', ...shown!.columns];
    const read = new Set<string>();
    for (const id of IDS)
      for (const state of [...openStates, 'DONE', 'HANDLED', 'DELIVERED', 'ROLLED_BACK'])
        for (const value of [null, 'x']) {
          const row = noting(read, { ...Object.fromEntries(known.map((name) => [name, value])), id, state });
          shown!.what(row);
          shown!.moments(row);
        }
    expect([...read].filter((name) => !known.includes(name))).toEqual([]);
  });

  it.each(shownTables.map((table) => [table.name, table] as const))('of %s has no column with a body', (_, table) => {
    const bodies = ['body', 'payload', 'message', 'args', 'data'];
    expect(table.shown!.columns.filter((name) => bodies.includes(name))).toEqual([]);
  });
});
