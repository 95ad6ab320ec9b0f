/** What the order app was last told of the stock: for showing, never for deciding. */
import { NAME_COLUMN, wholeNumber } from '@nest-dtx/shop';
import type { Migration } from 'nest-dtx';
import type { EntityManager } from 'typeorm';

/** After those of the orders, which are version 1 of the same app. */
export const stockHintMigrations: Migration[] = [
  {
    version: 2,
    name: 'stock hint',
    up: [
      `CREATE TABLE IF NOT EXISTS stock_hint (
        sku ${NAME_COLUMN} NOT NULL PRIMARY KEY,
        available BIGINT NOT NULL,
        version BIGINT NOT NULL,
        as_of DATETIME(3) NOT NULL
      ) ENGINE=InnoDB`,
    ],
  },
];

/** A hint as the catalog shows it. */
export interface StockHint {
  available: number;
  asOf: string;
}

/**
 * Keeps the hint unless what is there is newer. Of one version the later one counts: a restock whose transaction was
 * rolled back after it was told leaves a version that the next change has again. The version is assigned last: the
 * others compare with the old one.
 */
export async function keepNewest(
  tx: EntityManager,
  hint: { sku: string; available: number; version: number },
): Promise<void> {
  await tx.query(
    `INSERT INTO stock_hint (sku, available, version, as_of) VALUES (?, ?, ?, UTC_TIMESTAMP(3))
     ON DUPLICATE KEY UPDATE
       available = IF(VALUES(version) >= version, VALUES(available), available),
       as_of = IF(VALUES(version) >= version, VALUES(as_of), as_of),
       version = GREATEST(version, VALUES(version))`,
    [hint.sku, hint.available, hint.version],
  );
}

/** All hints by sku. Takes the bare manager too: it only reads. */
export async function allHints(manager: EntityManager): Promise<ReadonlyMap<string, StockHint>> {
  const rows: { sku: string; available: string; asOf: Date }[] = await manager.query(
    'SELECT sku, available, as_of AS asOf FROM stock_hint',
  );
  return new Map(
    rows.map(({ sku, available, asOf }) => [sku, { available: wholeNumber(available), asOf: asOf.toISOString() }]),
  );
}
