/**
 * The message contracts of the shop. Each message of the purchase flow carries the whole purchase and its own result,
 * because no ordering is promised: a result that overtakes the message before it can still be handled.
 */
import { defineMessage, type MessageOf } from 'nest-dtx';
import { z } from 'zod';
import { AVAILABLE_MAX, cents, name, notifyUrl, quantity, REASONS, SCHEMES } from './purchase.js';

/**
 * A purchase on its way between the apps. The sku is any name: a receiver with an older price list must still be able
 * to undo what others did for it. `createdAt` is missing while the order database has not given the time yet.
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

/** An order exists and wants its stock. */
export const orderPlaced = defineMessage({
  name: 'order.placed',
  version: 1,
  schema: purchaseOnTheWay,
  consumers: ['inventory.take-stock'],
  gid: ofOrder,
});
export type OrderPlaced = MessageOf<typeof orderPlaced>;

/** The stock is taken: now the money. */
export const stockTaken = defineMessage({
  name: 'stock.taken',
  version: 1,
  schema: purchaseOnTheWay,
  consumers: ['payment.take-money'],
  gid: ofOrder,
});
export type StockTaken = MessageOf<typeof stockTaken>;

/** There was not enough stock: nothing was taken, the order is to be cancelled. */
export const stockRejected = defineMessage({
  name: 'stock.rejected',
  version: 1,
  schema: refusedPurchase,
  consumers: ['order.cancel-rejected'],
  gid: ofOrder,
});
export type StockRejected = MessageOf<typeof stockRejected>;

/** The money is taken: the purchase is complete. */
export const paymentCaptured = defineMessage({
  name: 'payment.captured',
  version: 1,
  schema: purchaseOnTheWay,
  consumers: ['order.confirm'],
  gid: ofOrder,
});
export type PaymentCaptured = MessageOf<typeof paymentCaptured>;

/** The money was not to be had: the order is to be cancelled and the stock to be put back. */
export const paymentDeclined = defineMessage({
  name: 'payment.declined',
  version: 1,
  schema: refusedPurchase,
  consumers: ['order.cancel-declined', 'inventory.put-back'],
  gid: ofOrder,
});
export type PaymentDeclined = MessageOf<typeof paymentDeclined>;

/**
 * A flash sale: the stock is taken already, the order and the money are to follow. Replicated, since it goes out as a
 * half message: once the broker has confirmed it, no row of inventory's would send it again.
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

/** What the catalog is told of a sku's stock: absolute and versioned, never a difference. */
const stockHint = z.object({
  sku: name,
  available: z.int().min(0).max(AVAILABLE_MAX),
  version: z.int().min(1),
});

/**
 * Someone set the stock of a sku. Absolute and versioned, never a difference: the newest version wins, so a lost,
 * repeated or late message does no harm. A hint for the catalog; what can be sold is decided where the stock is.
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
 * Goods have come in. Published before its transaction commits and known again by Redis, so it may tell of what was
 * rolled back, and may be handled twice: the hint bears both, being absolute, versioned, and only a hint.
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
