// Every purchase seen from all three databases at once: a merge over the order id, in bounded chunks.
import type { Databases } from '../sandbox/database-reader.js';
import type { App } from '../servers/server-set.js';

const CHUNK = 2_000;

interface OrderRow {
  order_id: string;
  scheme: string;
  buyer_id: string;
  sku: string;
  quantity: number;
  amount: bigint;
  status: string;
  reason: string | null;
}

interface PaymentRow {
  order_id: string;
  buyer_id: string;
  amount: bigint;
  status: string;
}

interface TakeRow {
  order_id: string;
  sku: string;
  quantity: number;
  state: string;
  times: number;
}

/** A row that a database does not have is undefined. */
interface Purchase {
  readonly orderId: string;
  readonly order?: OrderRow;
  readonly payment?: PaymentRow;
  readonly take?: TakeRow;
}

export interface PurchaseSummary {
  purchases: number;
  /** Parked somewhere. */
  waiting: number;
  readonly byStatus: Record<string, number>;
  readonly disagreements: string[];
  readonly captured: Map<string, bigint>;
  readonly taken: Map<string, bigint>;
  /** Captured minus amounts of CONFIRMED orders. */
  readonly buyerGap: Map<string, bigint>;
  readonly skuGap: Map<string, bigint>;
  confirmedAmount: bigint;
  confirmedQuantity: bigint;
}

interface Source {
  readonly app: App;
  readonly table: string;
  readonly as: 'order' | 'payment' | 'take';
  readonly columns: string;
}

const SOURCES: readonly Source[] = [
  {
    app: 'order',
    table: 'orders',
    as: 'order',
    columns: 'order_id, scheme, buyer_id, sku, quantity, amount, status, reason',
  },
  { app: 'payment', table: 'payment', as: 'payment', columns: 'order_id, buyer_id, amount, status' },
  { app: 'inventory', table: 'stock_take', as: 'take', columns: 'order_id, sku, quantity, state, times' },
];

/** Calls `visit` for every order id that any of the three databases has. */
async function walkPurchases(databases: Databases, visit: (purchase: Purchase) => void): Promise<void> {
  const sources = SOURCES.filter(({ app, table }) => databases.has(app, table));
  if (sources.length === 0) return;
  for (let after: string | null = ''; after !== null; ) {
    const from: string = after;
    const chunks = await Promise.all(sources.map((source) => readChunk(databases, source, from)));
    const end = endOfChunks(chunks);
    const byId = new Map<string, Purchase>();
    chunks.forEach((rows, index) => {
      for (const row of rows) {
        if (end !== null && row.order_id > end) continue; // another database has ids below it that were not read yet
        const known = byId.get(row.order_id) ?? { orderId: row.order_id };
        byId.set(row.order_id, { ...known, [sources[index]!.as]: row });
      }
    });
    for (const purchase of byId.values()) visit(purchase);
    after = end;
  }
}

/** Ids are compared as bytes here and in the databases, so that both agree on their order. */
function readChunk(
  databases: Databases,
  { app, table, columns }: Source,
  after: string,
): Promise<Array<{ order_id: string }>> {
  return databases.query(app, `SELECT ${columns} FROM ${table} WHERE order_id > ? ORDER BY order_id LIMIT ${CHUNK}`, [
    after,
  ]);
}

/** The last id up to which every database has been read; null when all have been read to their end. */
function endOfChunks(chunks: ReadonlyArray<ReadonlyArray<{ order_id: string }>>): string | null {
  const lastIds = chunks.filter((rows) => rows.length === CHUNK).map((rows) => rows[CHUNK - 1]!.order_id);
  return lastIds.sort()[0] ?? null;
}

/**
 * Sums over all purchases. Parked purchases are counted, but left out of the sums that are compared between databases, because
 * some of their branches may be done and others not.
 */
export async function summarizePurchases(
  databases: Databases,
  parkedGids: ReadonlySet<string>,
): Promise<PurchaseSummary> {
  const summary: PurchaseSummary = {
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

function addPurchase(summary: PurchaseSummary, purchase: Purchase, parkedGids: ReadonlySet<string>): void {
  const { orderId, order, payment, take } = purchase;
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
  summary.disagreements.push(...disagreementsOf(purchase));
}

const add = (sums: Map<string, bigint>, key: string, amount: bigint) => sums.set(key, (sums.get(key) ?? 0n) + amount);

/** The three databases must agree on a settled purchase. */
function disagreementsOf({ orderId, order, payment, take }: Purchase): string[] {
  const wrong: string[] = [];
  const isConfirmed = order?.status === 'CONFIRMED';
  const says = (text: string) => wrong.push(`order ${orderId}: ${text}`);
  const isPaid = payment?.status === 'CAPTURED';
  const isTaken = take?.state === 'TAKEN';
  // A refused purchase may have a row only in the database of the app that refused it.
  if (!order && (isPaid || isTaken))
    says(`the order is missing, but payment ${payment?.status ?? 'none'}, stock ${take?.state ?? 'none'}`);
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
