// The services of the three apps. The saga runs in the order app, the other two serve one step and its compensation each.
import { type Context, service, TerminalError } from '@restatedev/restate-sdk';
import type { Pool } from 'mysql2/promise';
import { type App, type Purchase, purchaseOf, type Wanted } from '../purchase.js';
import { insertOrder, putBackMoney, putBackStock, settleOrder, takeMoney, takeStock } from './steps.js';

const participant = <Name extends 'inventory' | 'payment'>(
  name: Name,
  { take, putBack }: Record<'take' | 'putBack', (purchase: Purchase) => Promise<boolean>>,
) =>
  service({
    name,
    handlers: {
      take: async (_: Context, purchase: Purchase): Promise<void> => {
        // A terminal error is not retried. The saga compensates.
        if (!(await take(purchase))) throw new TerminalError(`${name} refused order ${purchase.orderId}`);
      },
      putBack: async (_: Context, purchase: Purchase): Promise<void> => {
        await putBack(purchase);
      },
    },
  });

const inventoryOf = (pool: Pool) =>
  participant('inventory', {
    take: (purchase) => takeStock(pool, purchase),
    putBack: (purchase) => putBackStock(pool, purchase),
  });
const paymentOf = (pool: Pool) =>
  participant('payment', {
    take: (purchase) => takeMoney(pool, purchase),
    putBack: (purchase) => putBackMoney(pool, purchase),
  });

const inventory = { name: 'inventory' } as ReturnType<typeof inventoryOf>;
const payment = { name: 'payment' } as ReturnType<typeof paymentOf>;

/** Restate stores the result of each step, so after a crash the saga goes on behind its last step. */
async function buy(ctx: Context, pool: Pool, wanted: Wanted): Promise<Purchase & { status: string }> {
  const purchase = purchaseOf(ctx.rand.uuidv4(), wanted);
  await ctx.run('insert the order', () => insertOrder(pool, purchase));
  const compensations: Array<() => Promise<void>> = [];
  let status = 'CONFIRMED';
  try {
    for (const one of [inventory, payment]) {
      compensations.unshift(() => ctx.serviceClient(one).putBack(purchase));
      await ctx.serviceClient(one).take(purchase);
    }
  } catch (error) {
    if (!(error instanceof TerminalError)) throw error;
    for (const compensate of compensations) await compensate();
    status = 'CANCELLED';
  }
  await ctx.run('settle the order', () => settleOrder(pool, purchase, status));
  return { ...purchase, status };
}

const orderOf = (pool: Pool) =>
  service({ name: 'order', handlers: { buy: (ctx: Context, wanted: Wanted) => buy(ctx, pool, wanted) } });

export const serviceOf = (app: App, pool: Pool) =>
  app === 'order' ? orderOf(pool) : app === 'inventory' ? inventoryOf(pool) : paymentOf(pool);
