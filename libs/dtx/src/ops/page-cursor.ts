/** The cursor of a list in `/dtx`. It encodes the id below which the next page begins. */
import { check, idParam } from './request-schemas.js';

/** The cursor of a page that goes on below an id. */
export function cursorOf(id: string): string {
  return Buffer.from(id).toString('base64url');
}

/** The id of a cursor. @throws BadRequestException */
export function beforeOf(cursor: string | undefined): string | undefined {
  return cursor === undefined ? undefined : check(idParam, Buffer.from(cursor, 'base64url').toString(), 'cursor');
}
