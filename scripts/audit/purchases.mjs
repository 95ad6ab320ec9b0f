// Every purchase seen from all three databases at once: a merge over the order id, in bounded chunks.

const CHUNK = 2_000;

const SOURCES = [
  { app: 'order', table: 'orders', columns: 'order_id, scheme, buyer_id, sku, quantity, amount, status, reason' },
  { app: 'payment', table: 'payment', columns: 'order_id, buyer_id, amount, status' },
  { app: 'inventory', table: 'stock_take', columns: 'order_id, sku, quantity, state, times' },
];

/**
 * Calls `visit({ orderId, order, payment, take })` for every order id that any of the three databases knows; what a
 * database does not know is undefined.
 */
export async function walkPurchases(databases, visit) {
  const sources = SOURCES.filter(({ app, table }) => databases.has(app, table));
  if (sources.length === 0) return;
  for (let after = ''; after !== null; ) {
    const chunks = await Promise.all(sources.map((source) => readChunk(databases, source, after)));
    const end = endOfChunks(chunks);
    const byId = new Map();
    chunks.forEach((rows, index) => {
      for (const row of rows) {
        if (end !== null && row.order_id > end) continue; // another database has ids below it that were not read yet
        byId.set(row.order_id, { ...byId.get(row.order_id), [sources[index].table]: row });
      }
    });
    for (const [orderId, { orders: order, payment, stock_take: take }] of byId)
      visit({ orderId, order, payment, take });
    after = end;
  }
}

/** Compared as bytes, in the databases as in here: the two sides must agree on the order of ids. */
function readChunk(databases, { app, table, columns }, after) {
  return databases.query(app, `SELECT ${columns} FROM ${table} WHERE order_id > ? ORDER BY order_id LIMIT ${CHUNK}`, [
    after,
  ]);
}

/** The last id up to which every database has been read; null when all have been read to their end. */
function endOfChunks(chunks) {
  const lastIds = chunks.filter((rows) => rows.length === CHUNK).map((rows) => rows[CHUNK - 1].order_id);
  return lastIds.sort()[0] ?? null;
}

/**
 * What the purchases add up to. Purchases that wait for a person are counted, but left out of what must agree between
 * databases: half of such a one may rightly be done.
 */
export async function summarizePurchases(databases, parkedGids) {
  const summary = {
    purchases: 0,
    waiting: 0,
    byStatus: { PENDING: 0, CONFIRMED: 0, CANCELLED: 0 },
    disagreements: [],
    captured: new Map(),
    taken: new Map(),
    buyerGap: new Map(),
    skuGap: new Map(),
    confirmedAmount: 0n,
    confirmedQuantity: 0n,
  };
  await walkPurchases(databases, (purchase) => addPurchase(summary, purchase, parkedGids));
  return summary;
}

function addPurchase(summary, { orderId, order, payment, take }, parkedGids) {
  summary.purchases += 1;
  if (order) summary.byStatus[order.status] = (summary.byStatus[order.status] ?? 0) + 1;
  const paid = payment?.status === 'CAPTURED' ? payment : null;
  const taken = take?.state === 'TAKEN' ? take : null;
  if (paid) add(summary.captured, paid.buyer_id, paid.amount);
  if (taken) add(summary.taken, taken.sku, BigInt(taken.quantity));
  if (parkedGids.has(orderId)) {
    summary.waiting += 1;
    return;
  }
  if (paid) add(summary.buyerGap, paid.buyer_id, paid.amount);
  if (taken) add(summary.skuGap, taken.sku, BigInt(taken.quantity));
  if (order?.status === 'CONFIRMED') {
    add(summary.buyerGap, order.buyer_id, -order.amount);
    add(summary.skuGap, order.sku, -BigInt(order.quantity));
    summary.confirmedAmount += order.amount;
    summary.confirmedQuantity += BigInt(order.quantity);
  }
  summary.disagreements.push(...disagreementsOf({ orderId, order, payment, take }));
}

const add = (sums, key, amount) => sums.set(key, (sums.get(key) ?? 0n) + amount);

/** What three databases say about one settled purchase must be one story. */
function disagreementsOf({ orderId, order, payment, take }) {
  const wrong = [];
  const isConfirmed = order?.status === 'CONFIRMED';
  const says = (text) => wrong.push(`order ${orderId}: ${text}`);
  const isPaid = payment?.status === 'CAPTURED';
  const isTaken = take?.state === 'TAKEN';
  // A refused purchase may be known to whoever refused it and to nobody else.
  if (!order && (isPaid || isTaken))
    says(`there is no order, but payment ${payment?.status ?? 'none'}, stock ${take?.state ?? 'none'}`);
  if (order && isPaid !== isConfirmed) says(`is ${order.status}, its payment is ${payment?.status ?? 'missing'}`);
  if (order && isTaken !== isConfirmed) says(`is ${order.status}, its stock is ${take?.state ?? 'not taken'}`);
  if (order && payment && (payment.amount !== order.amount || payment.buyer_id !== order.buyer_id)) {
    says(`${order.buyer_id} owes ${order.amount}, but the payment is ${payment.amount} of ${payment.buyer_id}`);
  }
  if (order && take && (take.quantity !== order.quantity || take.sku !== order.sku)) {
    says(`is for ${order.quantity} x ${order.sku}, but ${take.quantity} x ${take.sku} was asked of the stock`);
  }
  const expectedTimes = take?.state === 'REFUSED' ? 0 : 1;
  if (take && take.times !== expectedTimes) says(`its stock was taken ${take.times} times (${take.state})`);
  if (order?.status === 'PENDING') says('is PENDING, which is not final');
  else if (order && isConfirmed === (order.reason !== null))
    says(`is ${order.status} with reason ${order.reason ?? 'none'}`);
  return wrong;
}
