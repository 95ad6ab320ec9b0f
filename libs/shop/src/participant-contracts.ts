/** TCC participants of a checkout with their arguments. The gid of the transaction is the order id. */
import { type ArgsOf, defineParticipant } from 'nest-dtx';
import { z } from 'zod';
import { purchaseOnTheWay } from './message-contracts.js';
import { cents, name, notifyUrl, quantity } from './purchase-schemas.js';

/** The order: PENDING, then CONFIRMED or CANCELLED. Its arguments are the whole purchase, which any phase may have to write. */
export const orderCheckout = defineParticipant({ name: 'order.checkout', version: 1, args: purchaseOnTheWay });
export type OrderCheckout = ArgsOf<typeof orderCheckout>;

/** The money: frozen, then captured or released. */
export const paymentFunds = defineParticipant({
  name: 'payment.funds',
  version: 1,
  // Only this participant publishes the payment result, so only it needs the URL.
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
