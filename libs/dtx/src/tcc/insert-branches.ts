// For step 1, register: inserts the rows of dtx_tcc_branch within the commit that registers the transaction. If the
// process dies before that commit, no row exists and no participant has been called.
import type { SqlStatement } from '../core/database/insert-first.js';
import { type Branch, branchRow, INSERT_BRANCHES } from './tcc-tables.js';

export function insertsOf(gid: string, branches: readonly Branch[]): SqlStatement[] {
  return rowsOf(gid, branches).map((rows) => ({ statement: INSERT_BRANCHES, values: [rows] }));
}

/** Characters per statement, since servers limit the size of a statement. A single larger branch gets its own. */
const ROWS_CHARS_MAX = 1_000_000;

/** The branches as rows, grouped into statements. Nearly always one statement. */
export function rowsOf(gid: string, branches: readonly Branch[]): Array<Array<Array<string | number>>> {
  const statements: Array<Array<Array<string | number>>> = [];
  let room = 0;
  for (const row of branches.map((branch) => branchRow(gid, branch))) {
    const chars = row.reduce<number>((sum, value) => sum + String(value).length, 0);
    if (chars > room || statements.length === 0) {
      statements.push([]);
      room = ROWS_CHARS_MAX;
    }
    statements.at(-1)!.push(row);
    room -= chars;
  }
  // guard: tcc.branch-rows
  return statements;
}
