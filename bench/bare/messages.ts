// The business of a purchase by messages: stock, then money, then the order is confirmed. It begins at the order app.
import type { FastifyInstance } from 'fastify';
import { WANTED, type Wanted } from '../naive/shop.js';
import { type App, type Process, purchaseOf } from './apps.js';
import { OutboxByHand } from './outbox-by-hand.js';

/** As many open purchases as `SettlementPace` of the demo apps allows before an answer waits. */
const OPEN_MAX = 40;

export async function serveMessages(app: App, { pool, broker, http }: Process): Promise<void> {
  const outbox = await OutboxByHand.open(app, { pool, broker });
  if (app === 'inventory') await takeStock(outbox);
  if (app === 'payment') await takeMoney(outbox);
  if (app === 'order') await sell(outbox, http);
}

const takeStock = (outbox: OutboxByHand) =>
  outbox.consume({
    queue: 'bare.take-stock',
    from: 'order',
    next: 'bare.take-money',
    work: (connection, { sku, quantity }) =>
      connection.query('UPDATE stock SET available = available - ?, sold = sold + ? WHERE sku = ? AND available >= ?', [
        quantity,
        quantity,
        sku,
        quantity,
      ]),
  });

const takeMoney = (outbox: OutboxByHand) =>
  outbox.consume({
    queue: 'bare.take-money',
    from: 'inventory',
    next: 'bare.settle',
    work: (connection, { orderId, buyerId, amount }) =>
      connection.query(
        `INSERT INTO payment VALUES (?, ?, ?, UTC_TIMESTAMP(3));
         UPDATE account SET balance = balance - ?, captured = captured + ? WHERE buyer_id = ? AND balance >= ?`,
        [orderId, buyerId, amount, amount, amount, buyerId, amount],
      ),
  });

async function sell(outbox: OutboxByHand, http: FastifyInstance): Promise<void> {
  let open = 0;
  const waiting: Array<() => void> = [];
  await outbox.consume({
    queue: 'bare.settle',
    from: 'payment',
    work: async (connection, { orderId }) => {
      await connection.query(
        "UPDATE orders SET status = 'CONFIRMED', updated_at = UTC_TIMESTAMP(3) WHERE order_id = ?",
        [orderId],
      );
      open--;
      waiting.shift()?.();
    },
  });
  http.post<{ Body: Wanted }>('/orders', { schema: { body: WANTED } }, async ({ body }, reply) => {
    if (open >= OPEN_MAX) await new Promise<void>((resolve) => waiting.push(resolve));
    open++;
    const purchase = purchaseOf(body);
    await outbox.accept(purchase, 'bare.take-stock');
    return reply.code(202).send({ ...purchase, status: 'PENDING' });
  });
}
