// Several statements in one packet, which the server runs in order up to the first error.
import { TransactionEnded } from '../errors/errors.js';
import { answersOf, type Command, type RawConnection } from './mysql2-types.js';

/** A statement as it is sent. */
export interface BoundStatement {
  readonly sql: string;
}

/** Of a statement in an error, without most of its values. */
const SHOWN_CHARS = 80;

/** The place of a failed statement in its packet. */
const places = new WeakMap<object, number>();

/** The errors of the server by those that explain them. */
const raw = new WeakMap<object, unknown>();

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

/** Notes the error of the server that another one explains. */
export function explains(explanation: unknown, error: unknown): void {
  if (isObject(explanation) && explanation !== error) raw.set(explanation, error);
}

/** The error of the server that this one explains, or this one. */
export function rawOf(error: unknown): unknown {
  return isObject(error) && raw.has(error) ? raw.get(error) : error;
}

/** The place of the failed statement in its packet, from 0, or undefined for an error of no packet. */
export function failedAt(error: unknown): number | undefined {
  const known = rawOf(error);
  return isObject(known) ? places.get(known) : undefined;
}

/** The end of the line ends a comment of the statement before it. */
// guard: transaction.line-ends
const BETWEEN = '\n; ';

/** The text of a packet. */
export const packetOf = (statements: readonly BoundStatement[]) => statements.map(({ sql }) => sql).join(BETWEEN);

/**
 * The error of an answered packet, for `failedAt`, or null. Without one of the server, there is one if answers are missing:
 * a statement of the user has hidden those behind it, COMMIT too, by a comment or a quote that the check before did not
 * see. The connection is then closed, since its transaction may be open.
 * @param command undefined if nothing was sent: mysql2 answers before it returns the command if the connection is closed
 */
export function failureOf(
  error: unknown,
  statements: readonly BoundStatement[],
  { command, connection }: { command: Command | undefined; connection: RawConnection },
): object | null {
  const at = command ? answersOf(command) : 0;
  // guard: transaction.all-answered
  const isHidden = !error && at + 1 < statements.length;
  const failure = isHidden ? hiddenBy(statements[at]!) : error;
  if (isHidden) connection.destroy();
  if (!failure) return null;
  places.set(failure, at);
  return failure;
}

function hiddenBy({ sql }: BoundStatement): TransactionEnded {
  const why = `"${sql.slice(0, SHOWN_CHARS)}" hides the statements that were sent behind it`;
  return new TransactionEnded(why, { isCommittedInPart: true });
}
