/**
 * What the order app, as the merchant of the demo, knows of payments: each result once, whether it was told of it or had
 * to ask. In a real shop this is where goods are sent out.
 */
import { ORDER_ID_COLUMN, type PaymentResult, WORD_COLUMN } from '@nest-dtx/shop';
import { insertFirst, type Migration, NOW } from 'nest-dtx';
import type { EntityManager } from 'typeorm';

/** Told by a notification, or asked for because none came. */
export type Source = 'told' | 'asked';

/** Versions of one app's schema need not be without gaps. */
export const paymentResultMigrations: Migration[] = [
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

/** Keeps a result: the effect of a notification. Repeated, it changes nothing and returns false. */
export function keepResult(tx: EntityManager, result: PaymentResult, source: Source): Promise<boolean> {
  const { orderId, status, amount } = result;
  const row = { event_id: `${orderId}.${status}`, order_id: orderId, status, amount, source, received_at: NOW };
  return insertFirst(tx, 'payment_result', row);
}

/** Keeps that there is no payment for an order that is cancelled: nobody has to ask again. */
export function keepNoResult(tx: EntityManager, orderId: string): Promise<boolean> {
  const row = { event_id: `${orderId}.NONE`, order_id: orderId, status: 'NONE', amount: 0, source: 'asked' };
  return insertFirst(tx, 'payment_result', { ...row, received_at: NOW });
}
