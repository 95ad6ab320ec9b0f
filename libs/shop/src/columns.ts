/** How values travel between MySQL or MariaDB and the code. */
import type { EntityManager, ValueTransformer } from 'typeorm';

/**
 * Column type of names (buyers, skus). Compared byte by byte with trailing spaces kept: the usual collations would
 * find "alice" under "Alice" or "alice ". The two servers name that collation differently, and each reads only its
 * own version comment.
 */
export const NAME_COLUMN =
  'VARCHAR(64) CHARACTER SET utf8mb4 /*M! COLLATE utf8mb4_nopad_bin */ /*!80017 COLLATE utf8mb4_0900_bin */';

/** Column type of order ids: UUIDs, one byte a character. */
export const ORDER_ID_COLUMN = 'CHAR(36) CHARACTER SET ascii COLLATE ascii_bin';

/** Column type of words from a fixed list (a status, a scheme). */
export const WORD_COLUMN = 'VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin';

/** What a changing statement answers through `tx.query`. */
export interface Changed {
  affectedRows: number;
}

/**
 * A BIGINT as a number. The driver hands BIGINTs over as strings, because they may exceed what a number holds exactly.
 * @throws RangeError when this one does: better to stop than to calculate with a rounded amount of money.
 */
export function wholeNumber(value: string | number): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new RangeError(`${value} is not a whole number that can be held exactly`);
  return number;
}

/** For BIGINT columns of entities. */
export const bigint: ValueTransformer = {
  to: (value: unknown) => value,
  from: (value: string | number) => wholeNumber(value),
};

/** Now, by the clock of this database, to the millisecond: the only clock that all instances share. */
export async function databaseNow(tx: EntityManager): Promise<Date> {
  const rows: { now: Date }[] = await tx.query('SELECT UTC_TIMESTAMP(3) AS now');
  return rows[0].now;
}
