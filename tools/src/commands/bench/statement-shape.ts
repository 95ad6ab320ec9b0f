// Reduces statements to their shape: equal ones with other values, or with other numbers of rows, have the same shape.

const VALUES = /x'[0-9a-f]*'|'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|\b0x[0-9a-f]+\b|\b\d+(?:\.\d+)?\b/gi;
const COMMENT = /\/\*.*?\*\//gs;
/** A list of values, and a list of such rows. */
const LIST = /\(\s*\?(?:\s*,\s*\?)*\s*\)/g;
const ROWS = /\(\?\)(?:\s*,\s*\(\?\))+/g;

export function shapeOf(sql: string): string {
  return sql
    .replace(COMMENT, ' ')
    .replace(VALUES, '?')
    .replace(/\s+/g, ' ')
    .replace(LIST, '(?)')
    .replace(ROWS, '(?), ...')
    .trim();
}
