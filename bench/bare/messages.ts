// The business of a purchase by messages: stock, then money, then the order is confirmed. It begins at the order app.
import type { FastifyInstance } from 'fastify';
import { WANTED, type Wanted } from '../naive/shop.js';
import { type App, type Process, purchaseOf } from './apps.js';
import { confirmOrder, insertOrder, takeMoney, takeStock } from './business.js';
import { OutboxByHand } from './outbox-by-hand.js';

/** As many open purchases as `SettlementPace` of the demo apps allows before an answer waits. */
const OPEN_MAX = 40;

export async function serveMessages(app: App, { pool, broker, http }: Process): Promise<void> {
  const outbox = await OutboxByHand.open(app, { pool, broker });
  if (app === 'inventory')
    await outbox.consume({ queue: 'bare.take-stock', from: 'order', next: 'bare.take-money', business: takeStock });
  if (app === 'payment')
    await outbox.consume({ queue: 'bare.take-money', from: 'inventory', next: 'bare.settle', business: takeMoney });
  if (app === 'order') await sell(outbox, http);
}

async function sell(outbox: OutboxByHand, http: FastifyInstance): Promise<void> {
  let open = 0;
  const waiting: Array<() => void> = [];
  await outbox.consume({
    queue: 'bare.settle',
    from: 'payment',
    business: confirmOrder,
    committed: () => {
      open--;
      waiting.shift()?.();
    },
  });
  http.post<{ Body: Wanted }>('/orders', { schema: { body: WANTED } }, async ({ body }, reply) => {
    if (open >= OPEN_MAX) await new Promise<void>((resolve) => waiting.push(resolve));
    open++;
    const purchase = purchaseOf(body);
    await outbox.accept(purchase, insertOrder(purchase), 'bare.take-stock');
    return reply.code(202).send({ ...purchase, status: 'PENDING' });
  });
}
