import { idTimeMs } from '../core/ids.js';

/** 'ndtx': private to this library, so that branches of other transaction managers are told apart. */
export const FORMAT_ID = 0x6e647478;

/** What names a branch. */
export const BRANCH_NAME = /^[a-z][a-z0-9-]{0,31}$/;

/** A branch as `XA RECOVER` lists it. */
export interface Xid {
  readonly formatId: number;
  readonly gtrid: string;
  readonly branch: string;
}

/** What a gtrid of ours says: whose log decides it, which row, from when it is and how long it may stay undecided. */
export interface Gtrid {
  readonly logId: string;
  readonly id: string;
  /** Milliseconds since the epoch, by the clock of the database that holds the log. */
  readonly startMs: number;
  readonly deadlineMs: number;
}

/** At most 64 bytes, which is all that the servers take: `<log id, 16>.<timeout, 6 hex digits>.<UUID v7 of the start>`. */
export function gtridOf(logId: string, id: string, timeoutMs: number): string {
  return `${logId}.${timeoutMs.toString(16).padStart(6, '0')}.${id}`;
}

/** Null for a gtrid that this library has not made. */
export function parseGtrid(gtrid: string): Gtrid | null {
  const match = /^([0-9a-f]{16})\.([0-9a-f]{6})\.([0-9a-f-]{36})$/.exec(gtrid);
  const startMs = match && idTimeMs(match[3]!);
  if (!match || !startMs) return null;
  return { logId: match[1]!, id: match[3]!, startMs, deadlineMs: startMs + Number.parseInt(match[2]!, 16) };
}

/** All three parts, as hex literals: XA statements take no placeholders, and MySQL compares the format too. */
export function xidSql(gtrid: string, branch: string): string {
  const hex = (text: string) => `X'${Buffer.from(text).toString('hex')}'`;
  return `${hex(gtrid)},${hex(branch)},${FORMAT_ID}`;
}
