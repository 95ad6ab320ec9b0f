import { v7 } from 'uuid';
import { DtxError } from './errors/errors.js';

const GID = /^[0-9A-Za-z_.:-]{1,64}$/;

/**
 * A new id: UUID v7, so that rows keyed by it are inserted in the order of time and old ones can be purged by key.
 * @param nowMs milliseconds since the epoch, by the database's clock where the caller has it
 */
export function newId(nowMs?: number): string {
  return nowMs === undefined ? v7() : v7({ msecs: nowMs });
}

/** The least UUID v7 of a moment: every id made before it sorts below. */
export function idFloor(atMs: number): string {
  const hex = Math.max(0, Math.floor(atMs)).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
}

/** When a UUID v7 was made, in milliseconds since the epoch; undefined for any other id. */
export function idTimeMs(id: string): number | undefined {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-7/.test(id) ? Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16) : undefined;
}

/** Refuses what cannot be a global transaction id before it reaches SQL, headers or logs. */
export function assertGid(gid: string): string {
  // A number, or undefined, would pass the test as text, and would be something else in a row and on the wire.
  if (typeof gid !== 'string' || !GID.test(gid))
    throw new DtxError(`a gid is 1 to 64 of [0-9A-Za-z_.:-], got ${String(JSON.stringify(gid)).slice(0, 80)}`);
  return gid;
}
