// Names of transactions and branches: format, parsing and SQL form of gtrids and xids.
import { idTimeMs } from '../core/ids.js';

/**
 * 'ndtx': the format id of this library, which separates its branches from those of other transaction managers.
 * @example
 *   branches.filter(({ formatID }) => Number(formatID) === XA_FORMAT_ID); // rows of XA RECOVER
 */
export const FORMAT_ID = 0x6e647478;

/** Valid branch names. */
export const BRANCH_NAME = /^[a-z][a-z0-9-]{0,31}$/;

/** A branch as `XA RECOVER` lists it. */
export interface Xid {
  readonly formatId: number;
  readonly gtrid: string;
  readonly branch: string;
}

/** The parsed parts of a gtrid of this library: decision log, row id, begin and deadline. */
export interface Gtrid {
  readonly logId: string;
  readonly id: string;
  /** Milliseconds since the epoch, by the clock of the database that holds the log. */
  readonly startMs: number;
  /** As `startMs`. */
  readonly deadlineMs: number;
}

/**
 * Formats `<log id, 16>.<timeout, 6 hex digits>.<UUID v7 of the begin>`. A gtrid has at most 64 bytes on both vendors.
 */
export function gtridOf(logId: string, id: string, timeoutMs: number): string {
  return `${logId}.${timeoutMs.toString(16).padStart(6, '0')}.${id}`;
}

/**
 * The parts of a gtrid of this library. Null for any other gtrid.
 * @example
 *   parseXaGtrid('order.4711'); // null
 */
export function parseGtrid(gtrid: string): Gtrid | null {
  const match = /^([0-9a-f]{16})\.([0-9a-f]{6})\.([0-9a-f-]{36})$/.exec(gtrid);
  const startMs = match && idTimeMs(match[3]!);
  if (!match || !startMs) return null;
  return { logId: match[1]!, id: match[3]!, startMs, deadlineMs: startMs + Number.parseInt(match[2]!, 16) };
}

/**
 * Formats all three parts as hex literals. XA statements take no placeholders, and MySQL also compares the format id.
 */
export function xidSql(gtrid: string, branch: string): string {
  const hex = (text: string) => `X'${Buffer.from(text).toString('hex')}'`;
  return `${hex(gtrid)},${hex(branch)},${FORMAT_ID}`;
}
