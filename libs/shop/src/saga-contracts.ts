/** The steps of a purchase by saga. Each gets the whole purchase. The gid of the saga is the order id. */
import { defineStep } from 'nest-dtx/saga';
import { purchaseOnTheWay } from './message-contracts.js';

const step = (name: string) => defineStep({ name, version: 1, args: purchaseOnTheWay });

/** The order: PENDING, or CANCELLED by Undo. */
export const placeOrderStep = step('order.place');

/** The goods: sold, or back on the shelf by Undo. */
export const takeStockStep = step('inventory.take-stock');

/** The money: captured. The point of no return. */
export const takeMoneyStep = step('payment.take-money');

/** The order: CONFIRMED. */
export const confirmOrderStep = step('order.confirm');
