// The business of a purchase by saga: order, stock, money as the pivot, then the order is confirmed. It begins at the order app.
import { type Purchase, WANTED, type Wanted } from '../naive/shop.js';
import { type App, type Process, purchaseOf } from './apps.js';
import { Calls } from './calls.js';
import { queueOf, SagaByHand, type Steps } from './saga-by-hand.js';
import type { Business } from './transact.js';

const STEPS: Steps = {
  first: ({ orderId, buyerId, sku, quantity, amount }) => ({
    sql: "INSERT INTO orders VALUES (?, ?, ?, ?, ?, 'PENDING', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))",
    values: [orderId, buyerId, sku, quantity, amount],
  }),
  compensable: 'take-stock',
  pivot: 'take-money',
  last: ({ orderId }) => ({
    sql: "UPDATE orders SET status = 'CONFIRMED', updated_at = UTC_TIMESTAMP(3) WHERE order_id = ? AND status = 'PENDING'",
    values: [orderId],
  }),
};

const takeStock = ({ sku, quantity }: Purchase): Business => ({
  sql: 'UPDATE stock SET available = available - ?, sold = sold + ? WHERE sku = ? AND available >= ?',
  values: [quantity, quantity, sku, quantity],
});

const takeMoney = ({ orderId, buyerId, amount }: Purchase): Business => ({
  sql: `INSERT INTO payment VALUES (?, ?, ?, UTC_TIMESTAMP(3));
    UPDATE account SET balance = balance - ?, captured = captured + ? WHERE buyer_id = ? AND balance >= ?`,
  values: [orderId, buyerId, amount, amount, amount, buyerId, amount],
});

export async function serveSaga(app: App, { pool, broker, http }: Process): Promise<void> {
  await broker.declare([STEPS.compensable, STEPS.pivot].map(queueOf));
  const saga = await SagaByHand.open(pool, await Calls.open(broker));
  if (app === 'inventory') await saga.serve(STEPS.compensable, takeStock);
  if (app === 'payment') await saga.serve(STEPS.pivot, takeMoney);
  if (app !== 'order') return;
  http.post<{ Body: Wanted }>('/orders/saga', { schema: { body: WANTED } }, async ({ body }, reply) => {
    const purchase = purchaseOf(body);
    await saga.buy(purchase, STEPS);
    return reply.code(201).send({ ...purchase, status: 'CONFIRMED' });
  });
}
