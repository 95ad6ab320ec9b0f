import { createHash } from 'node:crypto';
import { textOf } from '../errors.js';
import { literalBytes } from './literal.js';
import type { Sql } from './sql.js';
import { isUnavailable } from './sql-errors.js';

/** A smaller statement has never been too large: 1 MiB is the least that a server takes by default. */
const LARGE_BYTES = 500_000;
/** The rest of the statement, and of the packet. */
const AROUND_BYTES = 65_536;

/**
 * Why a row with this body could not be written and never can be, or null when what it needs is away. A server closes the
 * connection of a statement that is larger than it takes, which looks like an outage: so that is asked for.
 * @param body what the statement carries as a literal
 */
export async function whyUnstorable(sql: Sql, error: unknown, body: Buffer | string): Promise<string | null> {
  const bytes = Buffer.byteLength(body);
  const about = `its body of ${bytes} bytes (SHA-256 ${createHash('sha256').update(body).digest('hex')}) is not kept`;
  if (!isUnavailable(error)) return `cannot be stored: ${textOf(error).slice(0, 300)}; ${about}`;
  const statementBytes = literalBytes(body) + AROUND_BYTES;
  if (statementBytes < LARGE_BYTES) return null;
  const rows = await sql.query('SELECT @@max_allowed_packet AS packet_max').catch(() => []);
  const packetMax = Number(rows[0]?.packet_max ?? Number.POSITIVE_INFINITY);
  if (statementBytes < packetMax) return null;
  return `cannot be stored: the statement is larger than max_allowed_packet, ${packetMax} bytes; ${about}`;
}
