// The business of a purchase by TCC: order, money and stock are reserved, then confirmed. It begins at the payment app.
import { WANTED, type Wanted } from '../naive/shop.js';
import { type App, type Process, purchaseOf } from './apps.js';
import { confirmOrder, insertOrder } from './business.js';
import { type Participant, TccByHand } from './tcc-by-hand.js';
import { changesOneRow } from './transact.js';

/** The tables of the naive shop have no place for what is reserved. */
const COLUMNS: Partial<Record<App, string>> = {
  payment: 'ALTER TABLE account ADD COLUMN frozen BIGINT NOT NULL DEFAULT 0',
  inventory: 'ALTER TABLE stock ADD COLUMN reserved BIGINT NOT NULL DEFAULT 0',
};

const PARTICIPANTS: Readonly<Record<App, Participant>> = {
  order: {
    try: insertOrder,
    confirm: confirmOrder,
  },
  payment: {
    try: ({ buyerId, amount }) => ({
      sql: changesOneRow(
        'UPDATE account SET balance = balance - ?, frozen = frozen + ? WHERE buyer_id = ? AND balance >= ?',
      ),
      values: [amount, amount, buyerId, amount],
    }),
    confirm: ({ orderId, buyerId, amount }) => ({
      sql: changesOneRow(`INSERT INTO payment VALUES (?, ?, ?, UTC_TIMESTAMP(3));
        UPDATE account SET frozen = frozen - ?, captured = captured + ? WHERE buyer_id = ? AND frozen >= ?`),
      values: [orderId, buyerId, amount, amount, amount, buyerId, amount],
    }),
  },
  inventory: {
    try: ({ sku, quantity }) => ({
      sql: changesOneRow(
        'UPDATE stock SET available = available - ?, reserved = reserved + ? WHERE sku = ? AND available >= ?',
      ),
      values: [quantity, quantity, sku, quantity],
    }),
    confirm: ({ sku, quantity }) => ({
      sql: changesOneRow('UPDATE stock SET reserved = reserved - ?, sold = sold + ? WHERE sku = ? AND reserved >= ?'),
      values: [quantity, quantity, sku, quantity],
    }),
  },
};

export async function serveTcc(app: App, { pool, broker, http }: Process): Promise<void> {
  const columns = COLUMNS[app];
  if (columns) await pool.query(columns);
  const tcc = await TccByHand.open(app, { participant: PARTICIPANTS[app], pool, broker });
  if (app !== 'payment') return;
  http.post<{ Body: Wanted }>('/checkouts', { schema: { body: WANTED } }, async ({ body }, reply) => {
    const purchase = purchaseOf(body);
    await tcc.buy(purchase);
    return reply.code(201).send({ ...purchase, status: 'CONFIRMED' });
  });
}
