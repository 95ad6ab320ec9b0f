import type { DtxMigration } from 'nest-dtx';
import { NAME_COLUMN, ORDER_ID_COLUMN, WORD_COLUMN } from '../column-types.js';

/**
 * The business tables of the payment app. At every commit `opening = balance + frozen + captured`, each at least 0, and
 * `captured` is the sum of the buyer's CAPTURED payments. The audit checks both.
 */
export const accountsMigrations: DtxMigration[] = [
  {
    version: 1,
    name: 'accounts and payments',
    up: [
      `CREATE TABLE IF NOT EXISTS account (
        buyer_id ${NAME_COLUMN} NOT NULL PRIMARY KEY,
        balance BIGINT NOT NULL,
        frozen BIGINT NOT NULL,
        captured BIGINT NOT NULL,
        opening BIGINT NOT NULL
      ) ENGINE=InnoDB`,
      `CREATE TABLE IF NOT EXISTS payment (
        order_id ${ORDER_ID_COLUMN} NOT NULL PRIMARY KEY,
        buyer_id ${NAME_COLUMN} NOT NULL,
        amount BIGINT NOT NULL,
        status ${WORD_COLUMN} NOT NULL,
        reason ${WORD_COLUMN} NULL,
        created_at DATETIME(3) NOT NULL,
        KEY of_buyer (buyer_id, created_at)
      ) ENGINE=InnoDB`,
    ],
  },
];
