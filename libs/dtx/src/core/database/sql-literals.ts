import { DtxError } from '../errors/errors.js';

/** An expression that the database computes. Never made from external input. */
export class SqlExpression {
  constructor(readonly sql: string) {}
}

export type SqlScalar = string | number | bigint | boolean | Date | Buffer | null | SqlExpression;
/** The value of a `?`: a scalar, a list for `IN (?)`, or rows for `VALUES ?`. */
export type SqlValue = SqlScalar | readonly SqlScalar[] | ReadonlyArray<readonly SqlScalar[]>;

/** Printable ASCII without quote and backslash. It reads the same under every `sql_mode` and character set. */
const PLAIN = /^[ !-&(-[\]-~]+$/;

/**
 * Writes values into a library statement as literals with the same meaning in every session. The session may belong to
 * the user. mysql2 escapes with backslashes, which NO_BACKSLASH_ESCAPES changes, and writes dates in the zone of its
 * options. So other text is written as hex with its character set, and times as UTC. The statement is a constant of
 * this library, with a `?` only for each value. Without values it is unchanged.
 * @throws DtxError if the number of values is wrong, or a value has no literal
 */
export function bind(statement: string, values?: readonly SqlValue[]): string {
  if (values === undefined) return statement;
  const parts = statement.split('?');
  if (parts.length !== values.length + 1)
    throw new DtxError(
      `cannot bind SQL: ${parts.length - 1} places and ${values.length} values: ${statement.slice(0, 80)}`,
    );
  return parts.map((part, index) => (index === 0 ? part : literal(values[index - 1]!) + part)).join('');
}

function literal(value: SqlValue): string {
  if (!isList(value)) return scalar(value as SqlScalar);
  if (value.length === 0) throw new DtxError('cannot bind SQL: empty list; skip the statement for an empty list');
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
  throw new DtxError(
    `cannot bind ${typeof value} ${String(value).slice(0, 40)} in SQL: use a text, a safe integer, bigint, boolean, Date, ` +
      'Buffer or null',
  );
}

/** The minimum number of bytes of a text or a body in a statement. */
export function literalBytes(value: string | Buffer): number {
  const bytes = Buffer.byteLength(value);
  return typeof value === 'string' && PLAIN.test(value) ? bytes : 2 * bytes;
}

/** Adds the character set to the literal, so that the client character set of the session does not matter. */
function quoted(text: string): string {
  return PLAIN.test(text) ? `_utf8mb4'${text}'` : `_utf8mb4 X'${Buffer.from(text).toString('hex')}'`;
}
