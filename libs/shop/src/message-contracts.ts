/**
 * Message contracts of the shop. Each message of the purchase flow carries the whole purchase and its result. Messages may
 * arrive in any order, and a result can be handled before the message that it follows.
 */
import { defineMessage, type MessageOf } from 'nest-dtx';
import { z } from 'zod';
import { AVAILABLE_MAX, cents, name, notifyUrl, quantity, REASONS, SCHEMES } from './purchase-schemas.js';

/**
 * A purchase in messages between the apps. The sku may be any name, so that a receiver with an older price list can still
 * undo a purchase. `createdAt` is missing until the order database has set it.
 */
export const purchaseOnTheWay = z.object({
  orderId: z.uuid(),
  scheme: z.enum(SCHEMES),
  buyerId: name,
  sku: name,
  quantity,
  amount: cents,
  notifyUrl: notifyUrl.optional(),
  createdAt: z.iso.datetime().optional(),
});
export type PurchaseOnTheWay = z.infer<typeof purchaseOnTheWay>;

const refusedPurchase = purchaseOnTheWay.extend({ reason: z.enum(REASONS) });

const ofOrder = (message: { orderId: string }): string => message.orderId;

/** An order was placed and needs its stock. */
export const orderPlaced = defineMessage({
  name: 'order.placed',
  version: 1,
  schema: purchaseOnTheWay,
  consumers: ['inventory.take-stock'],
  gid: ofOrder,
});
export type OrderPlaced = MessageOf<typeof orderPlaced>;

/** The stock of an order is taken. The payment is next. */
export const stockTaken = defineMessage({
  name: 'stock.taken',
  version: 1,
  schema: purchaseOnTheWay,
  consumers: ['payment.take-money'],
  gid: ofOrder,
});
export type StockTaken = MessageOf<typeof stockTaken>;

/** The stock does not suffice and none is taken. The order must be cancelled. */
export const stockRejected = defineMessage({
  name: 'stock.rejected',
  version: 1,
  schema: refusedPurchase,
  consumers: ['order.cancel-rejected'],
  gid: ofOrder,
});
export type StockRejected = MessageOf<typeof stockRejected>;

/** The money is taken and the purchase is complete. */
export const paymentCaptured = defineMessage({
  name: 'payment.captured',
  version: 1,
  schema: purchaseOnTheWay,
  consumers: ['order.confirm'],
  gid: ofOrder,
});
export type PaymentCaptured = MessageOf<typeof paymentCaptured>;

/** The payment is declined. The order must be cancelled, and the stock put back. */
export const paymentDeclined = defineMessage({
  name: 'payment.declined',
  version: 1,
  schema: refusedPurchase,
  consumers: ['order.cancel-declined', 'inventory.put-back'],
  gid: ofOrder,
});
export type PaymentDeclined = MessageOf<typeof paymentDeclined>;

/** An order may have expired. The order app sends it to itself with a delay, and withdraws it when the order is settled. */
export const orderExpired = defineMessage({
  name: 'order.expired',
  version: 1,
  schema: purchaseOnTheWay,
  consumers: ['order.expire'],
  gid: ofOrder,
});
export type OrderExpired = MessageOf<typeof orderExpired>;

/** The order app wants to give up a PENDING order. The payment app decides, since it may have taken the money. */
export const expiryRequested = defineMessage({
  name: 'expiry.requested',
  version: 1,
  schema: purchaseOnTheWay,
  consumers: ['payment.decline-expired'],
  gid: ofOrder,
});
export type ExpiryRequested = MessageOf<typeof expiryRequested>;

/**
 * A flash sale. The stock is taken, and order and payment follow. Half messages need a replicated contract, since the
 * prepared message exists only in the broker.
 */
export const flashSold = defineMessage({
  name: 'flash.sold',
  version: 1,
  schema: purchaseOnTheWay,
  consumers: ['order.record-flash-sale', 'payment.take-flash-money'],
  gid: ofOrder,
  replicated: true,
});
export type FlashSold = MessageOf<typeof flashSold>;

/** Stock of a sku for the catalog. The value is absolute and versioned, never a difference. */
const stockHint = z.object({
  sku: name,
  available: z.int().min(0).max(AVAILABLE_MAX),
  version: z.int().min(1),
});

/**
 * The stock of a sku was set. The newest version wins, so a lost, duplicate or late message does no harm. It is a hint for
 * the catalog. The inventory app decides whether stock suffices.
 */
export const stockChanged = defineMessage({
  name: 'stock.changed',
  version: 1,
  schema: stockHint,
  consumers: ['order.stock-hint'],
  gid: (change) => `stock:${change.sku}:${change.version}`,
});
export type StockChanged = MessageOf<typeof stockChanged>;

/**
 * A sku was restocked. The message is published before the commit and deduplicated by Redis. It may describe a restock that
 * was rolled back, and it may be handled twice. Both are harmless for an absolute, versioned hint.
 */
export const stockRestocked = defineMessage({
  name: 'stock.restocked',
  version: 1,
  schema: stockHint,
  consumers: ['order.restock-hint'],
  gid: (change) => `restock:${change.sku}:${change.version}`,
  replicated: true,
});
export type StockRestocked = MessageOf<typeof stockRestocked>;
