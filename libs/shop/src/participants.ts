/** Who takes part in a checkout by TCC, and what each is told. The gid of the transaction is the order's id. */
import { type ArgsOf, defineParticipant } from 'nest-dtx';
import { z } from 'zod';
import { purchaseOnTheWay } from './messages.js';
import { cents, name, notifyUrl, quantity } from './purchase.js';

/** The order: PENDING, then CONFIRMED or CANCELLED. It gets the whole purchase, since it must be able to write it at any step. */
export const orderCheckout = defineParticipant({ name: 'order.checkout', version: 1, args: purchaseOnTheWay });
export type OrderCheckout = ArgsOf<typeof orderCheckout>;

/** The money: frozen, then captured or released. */
export const paymentFunds = defineParticipant({
  name: 'payment.funds',
  version: 1,
  // Where to tell of the result, too: known to the one who captures, and to nobody else.
  args: z.object({ buyerId: name, amount: cents, notifyUrl: notifyUrl.optional() }),
});
export type PaymentFunds = ArgsOf<typeof paymentFunds>;

/** The goods: reserved, then sold or released. */
export const inventoryStock = defineParticipant({
  name: 'inventory.stock',
  version: 1,
  args: z.object({ sku: name, quantity }),
});
export type InventoryStock = ArgsOf<typeof inventoryStock>;

/** The app that calls the merchants for all apps. */
export const NOTIFIER = 'payment';
