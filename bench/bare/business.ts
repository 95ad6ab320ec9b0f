// The business of a purchase, as the schemes share it.
import type { Purchase } from '../naive/shop.js';
import { changesOneRow, type Statement } from './transact.js';

export const insertOrder = ({ orderId, buyerId, sku, quantity, amount }: Purchase): Statement => ({
  sql: "INSERT INTO orders VALUES (?, ?, ?, ?, ?, 'PENDING', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))",
  values: [orderId, buyerId, sku, quantity, amount],
});

export const takeStock = ({ sku, quantity }: Purchase): Statement => ({
  sql: changesOneRow('UPDATE stock SET available = available - ?, sold = sold + ? WHERE sku = ? AND available >= ?'),
  values: [quantity, quantity, sku, quantity],
});

export const takeMoney = ({ orderId, buyerId, amount }: Purchase): Statement => ({
  sql: changesOneRow(`INSERT INTO payment VALUES (?, ?, ?, UTC_TIMESTAMP(3));
    UPDATE account SET balance = balance - ?, captured = captured + ? WHERE buyer_id = ? AND balance >= ?`),
  values: [orderId, buyerId, amount, amount, amount, buyerId, amount],
});

export const confirmOrder = ({ orderId }: Purchase): Statement => ({
  sql: changesOneRow(
    "UPDATE orders SET status = 'CONFIRMED', updated_at = UTC_TIMESTAMP(3) WHERE order_id = ? AND status = 'PENDING'",
  ),
  values: [orderId],
});
