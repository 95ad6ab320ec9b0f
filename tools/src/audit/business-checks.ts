// Invariants between orders, money and stock.

import type { Databases } from '../sandbox/database-reader.js';
import type { App } from '../servers/server-set.js';
import type { AuditContext, Check, Figures } from './check-types.js';

interface Account {
  buyer_id: string;
  balance: bigint;
  frozen: bigint;
  captured: bigint;
  opening: bigint;
}

interface Stock {
  sku: string;
  available: bigint;
  reserved: bigint;
  sold: bigint;
  opening: bigint;
}

/**
 * Money: per buyer, opening balance = balance + amounts of CONFIRMED orders. Only parked transactions may have frozen
 * money.
 */
export async function checkMoney({ databases, purchases, held }: AuditContext): ReturnType<Check> {
  if (!databases.has('payment', 'account')) return null;
  const accounts = await databases.query<Account>(
    'payment',
    'SELECT buyer_id, balance, frozen, captured, opening FROM account',
  );
  const known = new Set(accounts.map(({ buyer_id }) => buyer_id));
  const violations = accounts.flatMap((account) =>
    wrongsOfAccount(account, {
      capturedByRows: purchases.captured.get(account.buyer_id) ?? 0n,
      held: held.frozen.get(account.buyer_id) ?? 0n,
    }),
  );
  for (const [buyer, amount] of purchases.captured) {
    if (!known.has(buyer)) violations.push(`${buyer} has no account, but ${amount} was captured`);
  }
  violations.push(
    ...gaps(
      purchases.buyerGap,
      databases,
      (buyer, gap) => `${buyer}: captured differs from CONFIRMED orders by ${gap}`,
    ),
  );
  const figures = {
    accounts: accounts.length,
    opening: sum(accounts, 'opening'),
    balance: sum(accounts, 'balance'),
    frozen: sum(accounts, 'frozen'),
    captured: sum(accounts, 'captured'),
    confirmedOrders: purchases.confirmedAmount,
  };
  return { figures, violations };
}

function wrongsOfAccount(
  { buyer_id: buyer, balance, frozen, captured, opening }: Account,
  { capturedByRows, held }: { capturedByRows: bigint; held: bigint },
): string[] {
  const wrong: string[] = [];
  if (frozen !== held) wrong.push(`${buyer}: ${frozen} is still frozen, ${held} of it by parked transactions`);
  if (captured !== capturedByRows)
    wrong.push(`${buyer}: captured is ${captured}, the payments add up to ${capturedByRows}`);
  if (opening !== balance + frozen + capturedByRows) {
    wrong.push(
      `${buyer}: opening ${opening} is not balance ${balance} + frozen ${frozen} + payments ${capturedByRows}`,
    );
  }
  return wrong;
}

/**
 * Stock: per sku, opening = available + sold, sold = quantity of CONFIRMED orders. Only parked transactions may have
 * reserved stock.
 */
export async function checkStock({ databases, purchases, held }: AuditContext): ReturnType<Check> {
  if (!databases.has('inventory', 'stock')) return null;
  const shelf = await databases.query<Stock>('inventory', 'SELECT sku, available, reserved, sold, opening FROM stock');
  const known = new Set(shelf.map(({ sku }) => sku));
  const violations = shelf.flatMap((stock) =>
    wrongsOfStock(stock, { taken: purchases.taken.get(stock.sku) ?? 0n, held: held.reserved.get(stock.sku) ?? 0n }),
  );
  for (const [sku, quantity] of purchases.taken) {
    if (!known.has(sku)) violations.push(`${sku} has no stock row, but ${quantity} were taken`);
  }
  violations.push(
    ...gaps(purchases.skuGap, databases, (sku, gap) => `${sku}: taken differs from CONFIRMED orders by ${gap}`),
  );
  const figures = {
    skus: shelf.length,
    opening: sum(shelf, 'opening'),
    available: sum(shelf, 'available'),
    reserved: sum(shelf, 'reserved'),
    sold: sum(shelf, 'sold'),
    confirmedOrders: purchases.confirmedQuantity,
  };
  return { figures, violations };
}

function wrongsOfStock(
  { sku, available, reserved, sold, opening }: Stock,
  { taken, held }: { taken: bigint; held: bigint },
): string[] {
  const wrong: string[] = [];
  if (reserved !== held) wrong.push(`${sku}: ${reserved} are still reserved, ${held} of them by parked transactions`);
  if (sold !== taken) wrong.push(`${sku}: sold is ${sold}, the takes add up to ${taken}`);
  if (opening !== available + reserved + taken) {
    wrong.push(`${sku}: opening ${opening} is not available ${available} + reserved ${reserved} + taken ${taken}`);
  }
  return wrong;
}

/** Only where orders exist: without them there is nothing that the effects could agree with. */
function gaps(
  differences: ReadonlyMap<string, bigint>,
  databases: Databases,
  describe: (key: string, gap: bigint) => string,
): string[] {
  if (!databases.has('order', 'orders')) return [];
  return [...differences].filter(([, gap]) => gap !== 0n).map(([key, gap]) => describe(key, gap));
}

/** Every purchase is final, and order, payment and stock tell one story about it. */
export async function checkPurchases({ databases, purchases, ordersBefore }: AuditContext): ReturnType<Check> {
  if (!databases.has('order', 'orders')) return null;
  const violations = [...purchases.disagreements];
  const ordersAfter = await fingerprintOfOrders(databases);
  if (ordersAfter !== ordersBefore)
    violations.push('a final order changed while the audit was reading: final is not final');
  return { figures: { purchases: purchases.purchases, ...purchases.byStatus, waiting: purchases.waiting }, violations };
}

/** One value over the ids and states of all orders, to see whether anything still moves. */
export async function fingerprintOfOrders(databases: Databases): Promise<string> {
  if (!databases.has('order', 'orders')) return '';
  const [found] = await databases.query<{ number: bigint; total: bigint }>(
    'order',
    'SELECT COUNT(*) AS number, COALESCE(SUM(CRC32(CONCAT(order_id, status, amount))), 0) AS total FROM orders',
  );
  return `${found!.number}:${found!.total}`;
}

const AMOUNTS: ReadonlyArray<{ app: App; table: string; key: string; columns: string[] }> = [
  { app: 'payment', table: 'account', key: 'buyer_id', columns: ['balance', 'frozen', 'captured', 'opening'] },
  { app: 'inventory', table: 'stock', key: 'sku', columns: ['available', 'reserved', 'sold', 'opening'] },
];

/** Nothing oversold, no balance below zero. */
export async function checkNothingNegative({ databases }: AuditContext): ReturnType<Check> {
  const looks = AMOUNTS.filter(({ app, table }) => databases.has(app, table));
  if (looks.length === 0) return null;
  const violations: string[] = [];
  const figures: Figures = {};
  for (const { app, table, key, columns } of looks) {
    const below = columns.map((column) => `${column} < 0`).join(' OR ');
    const rows = await databases.query<{ name: string } & Record<string, unknown>>(
      app,
      `SELECT ${key} AS name, ${columns.join(', ')} FROM ${table} WHERE ${below}`,
    );
    for (const { name, ...values } of rows) {
      violations.push(`${table} ${name}: ${columns.map((column) => `${column} ${values[column]}`).join(', ')}`);
    }
    const [count] = await databases.query<{ number: bigint }>(app, `SELECT COUNT(*) AS number FROM ${table}`);
    figures[`${table}Rows`] = count!.number;
  }
  return { figures, violations };
}

const sum = <Column extends string>(rows: ReadonlyArray<Record<Column, bigint>>, column: Column) =>
  rows.reduce((total, row) => total + row[column], 0n);
