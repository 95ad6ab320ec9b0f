/**
 * Notifications of payment results to the merchant. They are derived from the payment row, so a retry publishes the same
 * content under the same id.
 */
import type { DtxNotification, Notifications } from 'nest-dtx';
import { type EntityManager, In } from 'typeorm';
import { z } from 'zod';
import { Payment } from './accounts/payment.entity.js';
import { BatchedReads } from './batched-reads.js';
import type { PurchaseOnTheWay } from './message-contracts.js';
import { cents, name } from './purchase-schemas.js';

/** The app that runs the notification service for all apps. */
export const NOTIFIER = 'payment';

/** Payment result of one order: the data of a notification, and the answer of `GET /payments/{orderId}`. */
export const paymentResult = z.object({
  orderId: z.uuid(),
  buyerId: name,
  amount: cents,
  status: z.enum(['CAPTURED', 'DECLINED']),
});
export type PaymentResult = z.infer<typeof paymentResult>;

/** Webhook body of a payment result, `{type, timestamp, data}` as in Standard Webhooks. */
export const paymentResultBody = z.object({
  type: z.enum(['payment.captured', 'payment.declined']),
  timestamp: z.iso.datetime(),
  data: paymentResult,
});

type PaymentFacts = Pick<Payment, 'orderId' | 'buyerId' | 'amount' | 'status' | 'createdAt'>;

/** The notification of a payment. `notifyUrl` is the target given with the purchase. */
export function paymentNotification(payment: PaymentFacts, notifyUrl: string | undefined): DtxNotification {
  const { orderId, buyerId, amount, status, createdAt: at } = payment;
  const type = status === 'CAPTURED' ? 'payment.captured' : 'payment.declined';
  return {
    id: `${orderId}.${status}`,
    gid: orderId,
    type,
    at,
    target: notifyUrl,
    data: { orderId, buyerId, amount, status },
  };
}

/**
 * Publishes the payment result of an order, if there is one. Call it after the commit and before the step ends. `manager`
 * belongs to the payment database and only reads.
 * @throws BrokerUnavailable or Unconfirmed without a publisher confirm. The step must be retried.
 */
export async function publishPaymentResult(
  notifications: Notifications,
  manager: EntityManager,
  { orderId, notifyUrl }: Pick<PurchaseOnTheWay, 'orderId' | 'notifyUrl'>,
): Promise<void> {
  if (!notifications.isFor(notifyUrl)) return;
  const payment = await paymentsOf(manager).find(orderId);
  if (payment !== null) await notifications.publish(paymentNotification(payment, notifyUrl));
}

const reads = new WeakMap<EntityManager, BatchedReads<Payment>>();

/** Many results are published at the same time, so their payments are read in one statement. */
function paymentsOf(manager: EntityManager): BatchedReads<Payment> {
  let payments = reads.get(manager);
  if (!payments) {
    payments = new BatchedReads(
      (ids) => manager.getRepository(Payment).findBy({ orderId: In(ids) }),
      ({ orderId }) => orderId,
    );
    reads.set(manager, payments);
  }
  return payments;
}
