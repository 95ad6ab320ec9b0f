// Reads the statements of the library: the part of SQL that its protocols decide with. An unknown form is an error, so a
// statement that changes its form cannot slip past the models.
import { SqlExpression, type SqlValue } from '../../libs/dtx/src/core/database/sql-literals.js';

export type Cell = string | number | null;
export type Row = Readonly<Record<string, Cell>>;
/** Whether a row meets a condition, at the present time of the world. */
export type Condition = (row: Row, isOverdue: boolean) => boolean;

/** What columns become. Some depend on the row. */
export type Assignments = Readonly<Record<string, Cell | ((row: Row) => Cell)>>;

export type Statement =
  | {
      readonly kind: 'insert';
      readonly table: string;
      readonly row: Row;
      readonly isQuiet: boolean;
      /** A NULL takes the place of its key after the deadline, and the server refuses it. */
      readonly isRefusedLate: boolean;
    }
  | {
      readonly kind: 'select';
      readonly table: string;
      readonly columns: readonly string[];
      readonly where: Condition;
      readonly lock: Lock;
    }
  | { readonly kind: 'update'; readonly table: string; readonly set: Assignments; readonly where: Condition };

/** In words, for a trace. */
export function labelOf(statement: Statement): string {
  const { kind, table } = statement;
  if (kind === 'select') return `read ${table}${statement.lock.mode === 'none' ? '' : ' and lock'}`;
  const row = kind === 'insert' ? statement.row : statement.set;
  const shown = SHOWN.flatMap((name) => (row[name] == null ? [] : [row[name]])).filter(
    (one) => typeof one === 'string',
  );
  return [kind, table, ...shown].join(' ');
}
const SHOWN = ['phase', 'op', 'state', 'decision', 'who'];

export interface Lock {
  readonly mode: 'none' | 'share' | 'update';
  /** A held lock is an error at once instead of a wait. */
  readonly isNowait: boolean;
}

/** A value that no decision depends on. */
const ANY = '~';
/** Columns that decisions depend on. Their values must be read exactly. */
const DECIDING = new Set(['state', 'decision', 'direction', 'op', 'phase', 'who', 'place', 'claim_token']);

const known = new Map<string, Statement>();

/** @throws Error for a form that the models do not know */
export function read(text: string, values: readonly SqlValue[] = []): Statement {
  const key = `${text}${JSON.stringify(values)}`;
  const before = known.get(key);
  if (before) return before;
  const statement = parsed(text, values);
  known.set(key, statement);
  return statement;
}

function parsed(text: string, values: readonly SqlValue[]): Statement {
  let place = 0;
  const sql = text
    .replaceAll(/\s+/g, ' ')
    .replaceAll('`', '')
    .replaceAll('?', () => `?${place++}`)
    .trim();
  const [, table, columns, row] =
    /^INSERT INTO (\w+) \(([^)]*)\) VALUES \((.*?)\)(?: ON DUPLICATE KEY UPDATE .*)?$/.exec(sql) ?? [];
  if (table && columns && row) {
    const cells = split(row, ',').map((text, index) => cellOf(columns.split(',')[index]!.trim(), text, values));
    const given = Object.fromEntries(columns.split(',').map((name, index) => [name.trim(), cells[index]!]));
    const isRefusedLate = IN_TIME.test(row);
    return { kind: 'insert', table, row: given, isQuiet: sql.includes('ON DUPLICATE KEY'), isRefusedLate };
  }
  const select = /^SELECT (.*) FROM (\w+)(?: FORCE INDEX \(\w+\))? WHERE (.*)$/.exec(sql);
  if (select) {
    const [, list, from, rest] = select;
    const columns = list!.split(',').map((name) => name.trim());
    const [, where, mode = '', wait] =
      /^(.*?)(?: ORDER BY [^?]*?)?( FOR UPDATE| LOCK IN SHARE MODE| FOR SHARE)?( NOWAIT)?$/.exec(rest!)!;
    const lock = {
      mode: mode === '' ? 'none' : mode.includes('UPDATE') ? 'update' : 'share',
      isNowait: !!wait,
    } as const;
    return { kind: 'select', table: from!, columns, where: conditionOf(where!, values), lock };
  }
  const update = /^UPDATE (\w+)(?: m)? SET (.*) WHERE (.*)$/.exec(sql);
  if (!update) throw new Error(`the models do not know this statement: ${text}`);
  const set = split(update[2]!, ',').map((assignment) => {
    const [, name, value] = /^(?:m\.)?(\w+) = (.*)$/.exec(assignment)!;
    return [name!, choiceOf(value!) ?? cellOf(name!, value!, values)] as const;
  });
  return { kind: 'update', table: update[1]!, set: Object.fromEntries(set), where: conditionOf(update[3]!, values) };
}

/** Reads `IF(column = 'one', 'then', 'else')`. */
function choiceOf(text: string): ((row: Row) => Cell) | undefined {
  const [, column, value, then, otherwise] = /^IF\((?:m\.)?(\w+) = '(\w+)', '(\w+)', '(\w+)'\)$/.exec(text) ?? [];
  return column === undefined ? undefined : (row) => (row[column] === value ? then! : otherwise!);
}

function cellOf(column: string, text: string, values: readonly SqlValue[]): Cell {
  const known = literalOf(text.trim(), values);
  if (known !== undefined) return known;
  if (DECIDING.has(column)) throw new Error(`the models cannot read what ${column} becomes: ${text}`);
  return ANY;
}

/** `IF(now < deadline, value, NULL)`. */
const IN_TIME = /^IF\(.* < \?\d+, (\?\d+), NULL\)/;

function literalOf(text: string, values: readonly SqlValue[]): Cell | undefined {
  if (text === 'NULL') return null;
  const [, inTime] = IN_TIME.exec(text) ?? [];
  if (inTime) return literalOf(inTime, values);
  const [, literal] = /^'([^']*)'$/.exec(text) ?? [];
  if (literal !== undefined) return literal;
  const [, place] = /^\?(\d+)$/.exec(text) ?? [];
  if (place === undefined) return undefined;
  const value = values[Number(place)];
  if (value === undefined) throw new Error(`the statement has no value for place ${place}`);
  const isOther = value instanceof SqlExpression || value instanceof Date || Buffer.isBuffer(value);
  return isOther ? ANY : (value as Cell);
}

function conditionOf(text: string, values: readonly SqlValue[]): Condition {
  const parts = split(text, ' AND ').map((part) => partOf(part.replace(/^m\./, ''), values));
  return (row, isOverdue) => parts.every((part) => part(row, isOverdue));
}

function partOf(part: string, values: readonly SqlValue[]): Condition {
  const [, column, operator, right] = /^(\w+) (=|<=>|IN|>|<=|IS) (.*)$/.exec(part) ?? [];
  if (column === 'deadline' && right === 'UTC_TIMESTAMP(3)') return (_, isOverdue) => (operator === '<=') === isOverdue;
  // An insert without the column has left it NULL.
  if (operator === 'IS') return (row) => ((row[column!] ?? null) === null) === (right === 'NULL');
  if (operator === 'IN') {
    const wanted = split(right!.slice(1, -1), ',').flatMap((text) => {
      const [, place] = /^\?(\d+)$/.exec(text.trim()) ?? [];
      return place === undefined ? [literalOf(text.trim(), values)] : (values[Number(place)] as Cell[]);
    });
    return (row) => wanted.includes(row[column!]!);
  }
  const wanted = right === undefined ? undefined : literalOf(right, values);
  if (wanted === undefined) {
    // A swapped fence of a mutant: `? IS NOT NULL`.
    if (/^\?\d+ IS NOT NULL$/.test(part)) return () => true;
    throw new Error(`the models do not know this condition: ${part}`);
  }
  return (row) => row[column!] === wanted;
}

/** Splits at a separator outside brackets. */
function split(text: string, separator: string): string[] {
  const parts: string[] = [];
  let [depth, from] = [0, 0];
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '(') depth++;
    if (text[at] === ')') depth--;
    if (depth === 0 && text.startsWith(separator, at)) {
      parts.push(text.slice(from, at));
      from = at + separator.length;
    }
  }
  return [...parts, text.slice(from)].map((part) => part.trim()).filter(Boolean);
}
