import type { DtxMigration } from 'nest-dtx';
import { NAME_COLUMN, ORDER_ID_COLUMN, WORD_COLUMN } from '../column-types.js';

/**
 * The business tables of the inventory app. At every commit `opening = available + reserved + sold`, each at least 0.
 * `version` is incremented by every change of a row, so that the newer of two hints is known. `stock_take.times` counts
 * how often the stock of an order was taken. The audit reports a take whose count is not 1.
 */
export const stockMigrations: DtxMigration[] = [
  {
    version: 1,
    name: 'stock and takes',
    up: [
      `CREATE TABLE IF NOT EXISTS stock (
        sku ${NAME_COLUMN} NOT NULL PRIMARY KEY,
        available BIGINT NOT NULL,
        reserved BIGINT NOT NULL,
        sold BIGINT NOT NULL,
        opening BIGINT NOT NULL,
        version BIGINT NOT NULL
      ) ENGINE=InnoDB`,
      `CREATE TABLE IF NOT EXISTS stock_take (
        order_id ${ORDER_ID_COLUMN} NOT NULL PRIMARY KEY,
        sku ${NAME_COLUMN} NOT NULL,
        quantity INT NOT NULL,
        state ${WORD_COLUMN} NOT NULL,
        times INT NOT NULL
      ) ENGINE=InnoDB`,
    ],
  },
];
