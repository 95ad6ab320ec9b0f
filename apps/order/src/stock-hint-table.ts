/** Stock hints of the catalog. They are only shown. The inventory app decides whether stock suffices. */
import { NAME_COLUMN, wholeNumber } from '@nest-dtx/shop';
import type { DtxMigration } from 'nest-dtx';
import type { EntityManager } from 'typeorm';

/** Runs after the migration of `orders`, which is version 1 of this app. */
export const stockHintMigrations: DtxMigration[] = [
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

/** The hint of a sku in the catalog. */
export interface StockHint {
  available: number;
  asOf: string;
}

/**
 * Stores the hint unless a newer version is stored. A hint of the same version replaces the stored one. A restock that was
 * rolled back after its publish leaves a version that the next change reuses. `version` is assigned last, because the
 * other columns compare with its old value.
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

/** All hints by sku. It only reads, so it needs no transaction. */
export async function allHints(manager: EntityManager): Promise<ReadonlyMap<string, StockHint>> {
  const rows: { sku: string; available: string; asOf: Date }[] = await manager.query(
    'SELECT sku, available, as_of AS asOf FROM stock_hint',
  );
  return new Map(
    rows.map(({ sku, available, asOf }) => [sku, { available: wholeNumber(available), asOf: asOf.toISOString() }]),
  );
}
