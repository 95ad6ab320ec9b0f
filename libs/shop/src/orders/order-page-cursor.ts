/** The cursor of a page of orders: the position of its last row, with a checksum. */
import { createHash } from 'node:crypto';
import type { OrderStatus, Scheme } from '../purchase-schemas.js';

/** Filters of a list. A cursor is only valid with the filters of its page. */
export interface OrderFilters {
  scheme?: Scheme;
  status?: OrderStatus;
  buyerId?: string;
}

/** Position of the last row of a page. The next page begins after it. */
export interface Position {
  createdAt: Date;
  orderId: string;
}

const TIME_BYTES = 6;
const ID_BYTES = 16;
const SUM_BYTES = 5;
// 27 bytes are exactly 36 base64 characters without spare bits, so a position has only one cursor.
const CURSOR_BYTES = TIME_BYTES + ID_BYTES + SUM_BYTES;

/** Makes an opaque cursor. Its checksum also covers the filters. It detects mistakes, and a cursor grants no access. */
export function cursorOf(position: Position, filters: OrderFilters): string {
  const bytes = Buffer.alloc(CURSOR_BYTES);
  bytes.writeUIntBE(position.createdAt.getTime(), 0, TIME_BYTES);
  bytes.write(position.orderId.replaceAll('-', ''), TIME_BYTES, 'hex');
  checksum(bytes, filters).copy(bytes, TIME_BYTES + ID_BYTES);
  return bytes.toString('base64url');
}

/** Largest time of a DATETIME column. MySQL refuses to compare with a later one. */
const TIME_MAX = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** The position of a cursor, or null if `cursorOf` did not make it for these filters. */
export function positionOf(cursor: string, filters: OrderFilters): Position | null {
  const bytes = Buffer.from(cursor, 'base64url');
  if (bytes.length !== CURSOR_BYTES || bytes.toString('base64url') !== cursor) return null;
  if (!checksum(bytes, filters).equals(bytes.subarray(TIME_BYTES + ID_BYTES))) return null;
  const createdAt = new Date(bytes.readUIntBE(0, TIME_BYTES));
  if (createdAt.getTime() > TIME_MAX) return null;
  const hex = bytes.toString('hex', TIME_BYTES, TIME_BYTES + ID_BYTES);
  return {
    createdAt,
    orderId: hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'),
  };
}

function checksum(bytes: Buffer, { scheme, status, buyerId }: OrderFilters): Buffer {
  return createHash('sha256')
    .update(bytes.subarray(0, TIME_BYTES + ID_BYTES))
    .update(JSON.stringify([scheme ?? null, status ?? null, buyerId ?? null]))
    .digest()
    .subarray(0, SUM_BYTES);
}
