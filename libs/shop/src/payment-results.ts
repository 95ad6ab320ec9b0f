/**
 * What the merchant is told of the money of a purchase, as its payment row has it. Called again for the same payment it
 * tells the same, under the same id: that makes a duplicate of it.
 */
import type { Notification, Notifications } from 'nest-dtx';
import type { EntityManager } from 'typeorm';
import { z } from 'zod';
import { findPayment } from './accounts/accounts.js';
import type { Payment } from './accounts/payment.entity.js';
import type { PurchaseOnTheWay } from './messages.js';
import { cents, name } from './purchase.js';

/** What became of the money of one order: the data of a notification, and what `GET /payments/{orderId}` answers. */
export const paymentResult = z.object({
  orderId: z.uuid(),
  buyerId: name,
  amount: cents,
  status: z.enum(['CAPTURED', 'DECLINED']),
});
export type PaymentResult = z.infer<typeof paymentResult>;

/** A payment result as it comes over the wire: `{type, timestamp, data}`, as Standard Webhooks has it. */
export const paymentResultBody = z.object({
  type: z.enum(['payment.captured', 'payment.declined']),
  timestamp: z.iso.datetime(),
  data: paymentResult,
});

type Told = Pick<Payment, 'orderId' | 'buyerId' | 'amount' | 'status' | 'createdAt'>;

/** The notification of a payment. `notifyUrl` is the purchase's own target. */
export function paymentNotification(payment: Told, notifyUrl: string | undefined): Notification {
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
 * Publishes what became of the money of an order, if anything has. Call it after the commit and before the step is ended.
 * `manager` is of the database that has the payments; it only reads.
 * @throws BrokerUnavailable when it is not known to be sent: the step must wait
 */
export async function tellPaymentResult(
  notifications: Notifications,
  manager: EntityManager,
  { orderId, notifyUrl }: Pick<PurchaseOnTheWay, 'orderId' | 'notifyUrl'>,
): Promise<void> {
  if (!notifications.isFor(notifyUrl)) return;
  const payment = await findPayment(manager, orderId);
  if (payment !== null) await notifications.publish(paymentNotification(payment, notifyUrl));
}
