import { type DtxMigration, widenIndexOnce } from 'nest-dtx';
import { NAME_COLUMN, ORDER_ID_COLUMN, WORD_COLUMN } from '../column-types.js';

/**
 * The business table of the order app. Lists read backwards by (created_at, order_id), and each index ends with these
 * columns. Version 8 lets two indexes serve filters together: order-page-query.ts reads one range for each value of a
 * column that the caller left out. An instance of the previous version still works, but its lists of one buyer are
 * sorted.
 */
export const ordersMigrations: DtxMigration[] = [
  {
    version: 1,
    name: 'orders',
    up: [
      `CREATE TABLE IF NOT EXISTS orders (
        order_id ${ORDER_ID_COLUMN} NOT NULL PRIMARY KEY,
        scheme ${WORD_COLUMN} NOT NULL,
        buyer_id ${NAME_COLUMN} NOT NULL,
        sku ${NAME_COLUMN} NOT NULL,
        quantity INT NOT NULL,
        amount BIGINT NOT NULL,
        status ${WORD_COLUMN} NOT NULL,
        reason ${WORD_COLUMN} NULL,
        notify_url VARCHAR(2048) CHARACTER SET utf8mb4 NULL,
        created_at DATETIME(3) NOT NULL,
        updated_at DATETIME(3) NOT NULL,
        KEY newest (created_at, order_id),
        KEY newest_of_buyer (buyer_id, created_at, order_id),
        KEY newest_of_status (status, created_at, order_id),
        KEY newest_of_scheme (scheme, created_at, order_id)
      ) ENGINE=InnoDB`,
    ],
  },
  {
    version: 8,
    name: 'orders by several filters',
    up: [
      widenIndexOnce('orders', 'newest_of_buyer', 'buyer_id, scheme, status, created_at, order_id'),
      widenIndexOnce('orders', 'newest_of_scheme', 'scheme, status, created_at, order_id'),
    ],
  },
];
