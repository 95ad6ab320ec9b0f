import { DtxError } from '../errors/errors.js';

/** A value that the database computes. Never made of anything that came from outside. */
export class SqlExpression {
  constructor(readonly sql: string) {}
}

export type SqlScalar = string | number | bigint | boolean | Date | Buffer | null | SqlExpression;
/** What may stand for a `?`: a value, a list of values for `IN (?)`, or rows of values for `VALUES ?`. */
export type SqlValue = SqlScalar | readonly SqlScalar[] | ReadonlyArray<readonly SqlScalar[]>;

/** Printable ASCII without quote and backslash: the same text between quotes under every `sql_mode` and character set. */
const PLAIN = /^[ !-&(-[\]-~]+$/;

/**
 * Puts values into a statement of the library as literals that mean the same in every session. The driver writes text with
 * backslashes, which a session with NO_BACKSLASH_ESCAPES reads as part of the text, and dates in the zone of its own
 * options. The session belongs to the user here, so nothing in the statement may depend on it: text that is not plain
 * goes as hex with its character set beside it, and times as UTC, which all columns of the library hold.
 * The statement itself is a constant of this library, and has a `?` only where a value goes.
 * Without values it is sent as it is.
 * @throws DtxError when the number of values is wrong, or a value cannot be a literal
 */
export function bind(statement: string, values?: readonly SqlValue[]): string {
  if (values === undefined) return statement;
  const parts = statement.split('?');
  if (parts.length !== values.length + 1)
    throw new DtxError(
      `statement with ${parts.length - 1} places got ${values.length} values: ${statement.slice(0, 80)}`,
    );
  return parts.map((part, index) => (index === 0 ? part : literal(values[index - 1]!) + part)).join('');
}

function literal(value: SqlValue): string {
  if (!isList(value)) return scalar(value as SqlScalar);
  if (value.length === 0) throw new DtxError('an empty list cannot be written in SQL');
  const items = value as ReadonlyArray<SqlScalar | readonly SqlScalar[]>;
  return items.map((item) => (isList(item) ? `(${item.map(scalar).join(', ')})` : scalar(item))).join(', ');
}

const isList = (value: unknown): value is readonly SqlScalar[] => Array.isArray(value);

function scalar(value: SqlScalar): string {
  if (value === null) return 'NULL';
  if (value instanceof SqlExpression) return value.sql;
  if (value instanceof Date) return quoted(value.toISOString().replace('T', ' ').slice(0, -1));
  if (Buffer.isBuffer(value)) return `X'${value.toString('hex')}'`;
  if (typeof value === 'string') return quoted(value);
  if (typeof value === 'boolean') return value ? '1' : '0';
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) return String(value);
  throw new DtxError(`not a value that SQL can be given: ${String(value).slice(0, 40)}`);
}

/** How many bytes a text or a body is in a statement, at the least. */
export function literalBytes(value: string | Buffer): number {
  const bytes = Buffer.byteLength(value);
  return typeof value === 'string' && PLAIN.test(value) ? bytes : 2 * bytes;
}

/** The character set stands beside the text: what the session says about its client's does not count then. */
function quoted(text: string): string {
  return PLAIN.test(text) ? `_utf8mb4'${text}'` : `_utf8mb4 X'${Buffer.from(text).toString('hex')}'`;
}
