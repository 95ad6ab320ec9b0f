/**
 * Payment results at the merchant, a part that the order app plays in the demo. Each result is stored once, from a
 * notification or from an inquiry. A real shop would ship the goods here.
 */
import { ORDER_ID_COLUMN, type PaymentResult, WORD_COLUMN } from '@nest-dtx/shop';
import type { DtxMigration } from 'nest-dtx';
import type { EntityManager } from 'typeorm';

/** Source of a result: a notification ('told') or an inquiry ('asked'). */
export type Source = 'told' | 'asked';

/** The versions of an app's schema may have gaps. */
export const paymentResultMigrations: DtxMigration[] = [
  {
    version: 7,
    name: 'payment results',
    up: [
      `CREATE TABLE IF NOT EXISTS payment_result (
        event_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        order_id ${ORDER_ID_COLUMN} NOT NULL,
        status ${WORD_COLUMN} NOT NULL,
        amount BIGINT NOT NULL,
        source ${WORD_COLUMN} NOT NULL,
        received_at DATETIME(3) NOT NULL,
        KEY of_order (order_id)
      ) ENGINE=InnoDB`,
    ],
  },
];

/** Stores a result by one statement, in the transaction of `manager` or in none. Idempotent. */
export async function keepResult(manager: EntityManager, result: PaymentResult, source: Source): Promise<void> {
  const { orderId, status, amount } = result;
  await insertOnce(manager, [`${orderId}.${status}`, orderId, status, amount, source]);
}

/** Stores that a cancelled order has no payment, which ends its inquiries. */
export async function keepNoResult(manager: EntityManager, orderId: string): Promise<void> {
  await insertOnce(manager, [`${orderId}.NONE`, orderId, 'NONE', 0, 'asked']);
}

async function insertOnce(manager: EntityManager, values: unknown[]): Promise<void> {
  await manager.query(
    `INSERT INTO payment_result (event_id, order_id, status, amount, source, received_at)
     VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP(3)) ON DUPLICATE KEY UPDATE event_id = event_id`,
    values,
  );
}
