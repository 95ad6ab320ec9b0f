/**
 * Column types and value conversions of the shop. MySQL and MariaDB must store and compare names alike, and no amount of
 * money may be rounded on its way from the driver. Values only: no statement runs here.
 */
import type { ValueTransformer } from 'typeorm';

/**
 * Column type of names (buyers, skus). Compared byte by byte including trailing spaces, since the usual collations treat
 * "alice", "Alice" and "alice " as equal. The servers name that collation differently, and each reads its own version
 * comment.
 */
export const NAME_COLUMN =
  'VARCHAR(64) CHARACTER SET utf8mb4 /*M! COLLATE utf8mb4_nopad_bin */ /*!80017 COLLATE utf8mb4_0900_bin */';

/** Column type of order ids (UUIDs in ASCII). */
export const ORDER_ID_COLUMN = 'CHAR(36) CHARACTER SET ascii COLLATE ascii_bin';

/** Column type of words from a fixed list (a status, a scheme). */
export const WORD_COLUMN = 'VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin';

/**
 * Converts a BIGINT, which the driver returns as a string, to a number.
 * @throws RangeError outside ±2^53, since a rounded amount of money must not be used
 */
export function wholeNumber(value: string | number): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number))
    throw new RangeError(`BIGINT ${value} is outside ±2^53-1 and cannot be read exactly; find its row and correct it`);
  return number;
}

/** Transformer for BIGINT columns of entities. */
export const bigint: ValueTransformer = {
  to: (value: unknown) => value,
  from: (value: string | number) => wholeNumber(value),
};
