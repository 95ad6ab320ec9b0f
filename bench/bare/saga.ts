// The business of a purchase by saga: order, stock, money as the pivot, then the order is confirmed. It begins at the order app.
import { WANTED, type Wanted } from '../naive/shop.js';
import { type App, type Process, purchaseOf } from './apps.js';
import { confirmOrder, insertOrder, takeMoney, takeStock } from './business.js';
import { Calls } from './calls.js';
import { queueOf, SagaByHand, type Steps } from './saga-by-hand.js';

const STEPS: Steps = { first: insertOrder, compensable: 'take-stock', pivot: 'take-money', last: confirmOrder };

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
