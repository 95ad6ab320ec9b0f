// Purchases of a window whose rows are in one database and missing in another.
import { tableNames } from 'nest-dtx/testing';
import type { App } from '../../servers/server-set.js';
import type { Finder } from './index.js';
import { present, rowsSince, type Tail } from './walk.js';

interface Effect {
  readonly id: string;
  readonly what: string;
}
const ORDERS = { app: 'order', table: 'orders', key: 'order_id' } as const;
const PAYMENT = { app: 'payment', table: 'payment', key: 'order_id', where: `status = 'CAPTURED'` } as const;
const TAKE = { app: 'inventory', table: 'stock_take', key: 'order_id', where: `state = 'TAKEN'` } as const;

/** Money taken or stock taken, and no order: the order app has lost its tail. */
export const effectsWithoutOrder: Finder = {
  kind: 'effects without an order',
  todo:
    'the caller has the answer that the purchase exists. Write the order again from these rows and the answer of the caller, ' +
    'or refund the money and put the stock back. Repeated calls with the old Idempotency-Key buy again',
  needs: ['order'],
  find: async (tail) => {
    const found: string[] = [];
    for (const source of [PAYMENT, TAKE]) {
      const columns =
        source === PAYMENT ? `CONCAT(amount, ' of ', buyer_id) AS what` : `CONCAT(quantity, ' x ', sku) AS what`;
      for await (const rows of rowsSince<Effect>(tail, { ...source, columns: `order_id AS id, ${columns}` })) {
        const known = await present(
          tail.databases,
          ORDERS,
          rows.map(({ id }) => id),
        );
        found.push(
          ...rows.filter(({ id }) => !known.has(id)).map(({ id, what }) => `${id}: ${source.app} took ${what}`),
        );
      }
    }
    return found;
  },
};

/** A CONFIRMED order without its money or its stock: payment or inventory has lost its tail. */
export const ordersWithoutEffect: Finder = {
  kind: 'orders without money or stock',
  todo:
    'local message and half message: npx nest-dtx redrive on the database of each sender. XA, TCC and saga: take the money and ' +
    'the stock by hand, or cancel the order',
  needs: ['order'],
  find: async (tail) => {
    const found: string[] = [];
    const confirmed = { ...ORDERS, where: `status = 'CONFIRMED'`, columns: 'order_id AS id, scheme AS what' };
    for await (const rows of rowsSince<Effect>(tail, confirmed)) {
      for (const [effect, text] of [
        [PAYMENT, 'has no payment'],
        [TAKE, 'has taken no stock'],
      ] as const) {
        if (!tail.databases.has(effect.app, effect.table)) continue;
        const known = await present(
          tail.databases,
          effect,
          rows.map(({ id }) => id),
        );
        found.push(...rows.filter(({ id }) => !known.has(id)).map(({ id, what }) => `${id} (${what}) ${text}`));
      }
    }
    return found;
  },
};

/** A CONFIRMED TCC transaction whose order or whose branch is missing at a participant. */
export const tccWithoutBranch: Finder = {
  kind: 'TCC transactions without a branch',
  todo:
    'the transaction is CONFIRMED and its participant has lost the branch. Confirm is not sent again: carry out the branch ' +
    'by hand, from the columns args and participant of dtx_tcc_branch',
  needs: ['payment'],
  find: async (tail) => {
    const found: string[] = [];
    for (const app of tail.databases.apps) {
      const confirmed = { app, table: tableNames.tcc, key: 'id', where: `state = 'CONFIRMED'`, columns: 'id' };
      for await (const rows of rowsSince<{ id: string }>(tail, confirmed)) {
        const branches = await tail.databases.query<{ gid: string; participant: string }>(
          app,
          `SELECT gid, participant FROM ${tableNames.tccBranch} WHERE gid IN (?)`,
          [rows.map(({ id }) => id)],
        );
        for (const owner of tail.databases.apps) {
          const of = branches.filter(({ participant }) => participant.startsWith(`${owner}.`));
          const known = await secondPhases(
            tail,
            owner,
            of.map(({ gid }) => gid),
          );
          const missing = of.filter(({ gid, participant }) => !known.has(`${gid} ${participant}`));
          found.push(...missing.map(({ gid, participant }) => `${gid}: ${participant} has no Confirm`));
        }
      }
    }
    return found;
  },
};

async function secondPhases({ databases }: Tail, app: App, gids: readonly string[]): Promise<Set<string>> {
  if (gids.length === 0 || !databases.has(app, tableNames.tccBarrier)) return new Set();
  const rows = await databases.query<{ gid: string; participant: string }>(
    app,
    `SELECT gid, participant FROM ${tableNames.tccBarrier} WHERE gid IN (?) AND op = 'confirm'`,
    [gids],
  );
  return new Set(rows.map(({ gid, participant }) => `${gid} ${participant}`));
}

/** A CAPTURED payment whose notification is missing, if some notification goes to the merchant of the demo. */
export const lostNotifications: Finder = {
  kind: 'notifications that the merchant lacks',
  todo: 'the row says DELIVERED and the merchant lost it. The merchant asks GET /payments/{orderId}',
  needs: ['payment', 'order'],
  find: async (tail) => {
    const found: string[] = [];
    if (!tail.databases.has('order', 'payment_result')) return found;
    const where = `state = 'DELIVERED' AND target LIKE '%/payment-results'`;
    const source = { app: 'payment', table: tableNames.notification, key: 'id', where, columns: 'id' } as const;
    for await (const rows of rowsSince<{ id: string }>(tail, source)) {
      const ids = rows.map(({ id }) => id);
      const known = await present(tail.databases, { app: 'order', table: 'payment_result', key: 'event_id' }, ids);
      found.push(...ids.filter((id) => !known.has(id)));
    }
    return found;
  },
};
