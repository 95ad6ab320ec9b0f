import { createHash } from 'node:crypto';
import { DtxError, textOf } from '../errors/errors.js';
import { errnoOf, isUnavailable } from '../errors/sql-errors.js';
import { literalBytes } from './literal.js';
import type { Sql } from './sql.js';

/** A smaller statement has never been too large: 1 MiB is the least that a server takes by default. */
const LARGE_BYTES = 500_000;
/** The rest of the statement, and of the packet. */
const AROUND_BYTES = 65_536;

/**
 * The value itself is refused: too long, out of range, not of its character set, no JSON, a function's result or a packet
 * that is too large. Any other error may be another one at the next try.
 */
const VALUE_REFUSED = new Set([1153, 1264, 1265, 1292, 1300, 1301, 1366, 1406, 3140, 3141, 4025]);

/**
 * Why a row with this body could not be written and never can be, or null when what it needs is away. A server closes the
 * connection of a statement that is larger than it takes, which looks like an outage: so that is asked for.
 * @param body what the statement carries as a literal
 */
export async function whyUnstorable(sql: Sql, error: unknown, body: Buffer | string): Promise<string | null> {
  const bytes = Buffer.byteLength(body);
  const about = `its body of ${bytes} bytes (SHA-256 ${createHash('sha256').update(body).digest('hex')}) is not kept`;
  if (VALUE_REFUSED.has(errnoOf(error)) || isOurs(error))
    return `cannot be stored: ${textOf(error).slice(0, 300)}; ${about}`;
  if (!isUnavailable(error)) return null;
  const statementBytes = literalBytes(body) + AROUND_BYTES;
  if (statementBytes < LARGE_BYTES) return null;
  const rows = await sql.query('SELECT @@max_allowed_packet AS packet_max').catch(() => []);
  const packetMax = Number(rows[0]?.packet_max ?? Number.POSITIVE_INFINITY);
  if (statementBytes < packetMax) return null;
  return `cannot be stored: the statement is larger than max_allowed_packet, ${packetMax} bytes; ${about}`;
}

/** Said by the library before anything was sent: it is no value that a statement can carry. */
function isOurs(error: unknown): boolean {
  return error instanceof DtxError && !isUnavailable(error);
}
