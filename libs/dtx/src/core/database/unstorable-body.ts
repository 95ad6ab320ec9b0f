import { createHash } from 'node:crypto';
import { DtxError, textOf } from '../errors/errors.js';
import { errnoOf, isUnavailable } from '../errors/sql-errors.js';
import type { Sql } from './sql-executor.js';
import { literalBytes } from './sql-literals.js';

/** Below this size in bytes a statement is never too large. The smallest server default is 1 MiB. */
const LARGE_BYTES = 500_000;
/** The size in bytes of the rest of statement and packet. */
const AROUND_BYTES = 65_536;

/**
 * The server rejects the value itself: too long, out of range, wrong character set, invalid JSON, or a too large
 * function result or packet. Other errors may be temporary.
 */
const VALUE_REFUSED = new Set([1153, 1264, 1265, 1292, 1300, 1301, 1366, 1406, 3140, 3141, 4025]);

/**
 * Returns the reason why a row with this body can never be stored, or null for a temporary failure. Callers then park the
 * row without its body, since the broker would redeliver it for ever. The server closes
 * the connection of a too large statement, which looks like an outage, so its limit is queried.
 * @param body the body that the statement carries as a literal
 */
export async function whyUnstorable(sql: Sql, error: unknown, body: Buffer | string): Promise<string | null> {
  const bytes = Buffer.byteLength(body);
  const about = `its body of ${bytes} bytes (SHA-256 ${createHash('sha256').update(body).digest('hex')}) is not stored`;
  if (VALUE_REFUSED.has(errnoOf(error)) || isOurs(error))
    return `cannot be stored: ${textOf(error).slice(0, 300)}; ${about}`;
  if (!isUnavailable(error)) return null;
  const statementBytes = literalBytes(body) + AROUND_BYTES;
  if (statementBytes < LARGE_BYTES) return null;
  const rows = await sql.query('SELECT @@max_allowed_packet AS packet_max').catch(() => []);
  const packetMax = Number(rows[0]?.packet_max ?? Number.POSITIVE_INFINITY);
  if (statementBytes < packetMax) return null;
  return `cannot be stored: the statement exceeds max_allowed_packet (${packetMax} bytes); ${about}`;
}

/** The library itself rejected the value, which has no SQL literal. */
function isOurs(error: unknown): boolean {
  return error instanceof DtxError && !isUnavailable(error);
}
