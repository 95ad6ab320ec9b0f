import { v7 } from 'uuid';
import { DtxError } from './errors/errors.js';

const GID = /^[0-9A-Za-z_.:-]{1,64}$/;

/**
 * Creates an id as UUID v7 (RFC 9562). Rows with such keys are inserted in the order of time, and old rows can be
 * purged by key.
 * @param nowMs milliseconds since the epoch, by the database clock if the caller has it
 * @example
 *   const orderId = newId(); // '01890a5d-ac96-774b-bcce-b302099a8057'
 */
export function newId(nowMs?: number): string {
  return nowMs === undefined ? v7() : v7({ msecs: nowMs });
}

/**
 * The id of a message with a delay, as UUID v8 (RFC 9562): as `newId`, and it sorts by its creation. No receiver takes the
 * time in it for the age of the message, whatever its version is, since only a UUID v7 carries a creation time.
 */
export function delayedId(nowMs: number): string {
  const id = newId(nowMs);
  return `${id.slice(0, 14)}8${id.slice(15)}`;
}

/** Whether an id is one of `delayedId`. */
export function isDelayedId(id: string): boolean {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-/.test(id);
}

/** The smallest UUID v7 of a moment. Every id of an earlier moment sorts below it. */
export function idFloor(atMs: number): string {
  const hex = Math.max(0, Math.floor(atMs)).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
}

/**
 * The creation time of a UUID v7 in milliseconds since the epoch. Undefined for any other id.
 * @example
 *   idTimeMs('01890a5d-ac96-774b-bcce-b302099a8057'); // 1688096058518
 */
export function idTimeMs(id: string): number | undefined {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-7/.test(id) ? Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16) : undefined;
}

/**
 * Checks a global transaction id before it reaches SQL, headers or logs. Returns it.
 * @throws DtxError unless it is 1 to 64 of [0-9A-Za-z_.:-]
 * @example
 *   assertGid('order-4711'); // 'order-4711'
 *   assertGid('order 4711'); // throws DtxError
 */
export function assertGid(gid: string): string {
  return assertId(gid, 'gid');
}

/** As `assertGid`, for an id that is called `what` in the error. @throws DtxError */
export function assertId(id: string, what: string): string {
  // The regular expression alone would accept a number or undefined, which rows and messages store differently.
  if (typeof id !== 'string' || !GID.test(id))
    throw new DtxError(
      `invalid ${what}: expected 1 to 64 of [0-9A-Za-z_.:-], got ${String(JSON.stringify(id)).slice(0, 80)}`,
    );
  return id;
}
