/**
 * Payment results at the merchant, a part that the order app plays in the demo. Each result is stored once, from a
 * notification or from an inquiry. A real shop would ship the goods here.
 */
import { ORDER_ID_COLUMN, type PaymentResult, WORD_COLUMN } from '@nest-dtx/shop';
import { DTX_NOW, type DtxMigration, insertFirst } from 'nest-dtx';
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

/** Stores a result. Idempotent. Returns false for a duplicate. */
export function keepResult(tx: EntityManager, result: PaymentResult, source: Source): Promise<boolean> {
  const { orderId, status, amount } = result;
  const row = { event_id: `${orderId}.${status}`, order_id: orderId, status, amount, source, received_at: DTX_NOW };
  return insertFirst(tx, 'payment_result', row);
}

/** Stores that a cancelled order has no payment, which ends its inquiries. */
export function keepNoResult(tx: EntityManager, orderId: string): Promise<boolean> {
  const row = { event_id: `${orderId}.NONE`, order_id: orderId, status: 'NONE', amount: 0, source: 'asked' };
  return insertFirst(tx, 'payment_result', { ...row, received_at: DTX_NOW });
}
