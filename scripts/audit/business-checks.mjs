// What must hold between orders, money and stock. Each check gives its figures and what violates it.

/**
 * Money: per buyer, opening balance = balance + amounts of CONFIRMED orders, and nothing frozen but what waits for a
 * person.
 */
export async function checkMoney({ databases, purchases, held }) {
  if (!databases.has('payment', 'account')) return null;
  const accounts = await databases.query('payment', 'SELECT buyer_id, balance, frozen, captured, opening FROM account');
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

function wrongsOfAccount({ buyer_id: buyer, balance, frozen, captured, opening }, { capturedByRows, held }) {
  const wrong = [];
  if (frozen !== held) wrong.push(`${buyer}: ${frozen} is still frozen, ${held} of it by what waits for a person`);
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
 * Stock: per sku, opening = available + sold, sold = quantity of CONFIRMED orders, nothing reserved but what waits for a
 * person.
 */
export async function checkStock({ databases, purchases, held }) {
  if (!databases.has('inventory', 'stock')) return null;
  const shelf = await databases.query('inventory', 'SELECT sku, available, reserved, sold, opening FROM stock');
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

function wrongsOfStock({ sku, available, reserved, sold, opening }, { taken, held }) {
  const wrong = [];
  if (reserved !== held)
    wrong.push(`${sku}: ${reserved} are still reserved, ${held} of them by what waits for a person`);
  if (sold !== taken) wrong.push(`${sku}: sold is ${sold}, the takes add up to ${taken}`);
  if (opening !== available + reserved + taken) {
    wrong.push(`${sku}: opening ${opening} is not available ${available} + reserved ${reserved} + taken ${taken}`);
  }
  return wrong;
}

/** Only where orders exist: a world without them has nothing that the effects could agree with. */
function gaps(differences, databases, describe) {
  if (!databases.has('order', 'orders')) return [];
  return [...differences].filter(([, gap]) => gap !== 0n).map(([key, gap]) => describe(key, gap));
}

/** Every purchase is final, and order, payment and stock tell one story about it. */
export async function checkPurchases({ databases, purchases, ordersBefore }) {
  if (!databases.has('order', 'orders')) return null;
  const violations = [...purchases.disagreements];
  const ordersAfter = await fingerprintOfOrders(databases);
  if (ordersAfter !== ordersBefore)
    violations.push('a final order changed while the audit was reading: final is not final');
  return { figures: { purchases: purchases.purchases, ...purchases.byStatus, waiting: purchases.waiting }, violations };
}

/** One value over the ids and states of all orders, to see whether anything still moves. */
export async function fingerprintOfOrders(databases) {
  if (!databases.has('order', 'orders')) return '';
  const [{ number, total }] = await databases.query(
    'order',
    'SELECT COUNT(*) AS number, COALESCE(SUM(CRC32(CONCAT(order_id, status, amount))), 0) AS total FROM orders',
  );
  return `${number}:${total}`;
}

/** Nothing oversold, no balance below zero. */
export async function checkNothingNegative({ databases }) {
  const looks = [
    { app: 'payment', table: 'account', key: 'buyer_id', columns: ['balance', 'frozen', 'captured', 'opening'] },
    { app: 'inventory', table: 'stock', key: 'sku', columns: ['available', 'reserved', 'sold', 'opening'] },
  ].filter(({ app, table }) => databases.has(app, table));
  if (looks.length === 0) return null;
  const violations = [];
  const figures = {};
  for (const { app, table, key, columns } of looks) {
    const below = columns.map((column) => `${column} < 0`).join(' OR ');
    const rows = await databases.query(
      app,
      `SELECT ${key} AS name, ${columns.join(', ')} FROM ${table} WHERE ${below}`,
    );
    for (const { name, ...values } of rows) {
      violations.push(`${table} ${name}: ${columns.map((column) => `${column} ${values[column]}`).join(', ')}`);
    }
    const [{ number }] = await databases.query(app, `SELECT COUNT(*) AS number FROM ${table}`);
    figures[`${table}Rows`] = number;
  }
  return { figures, violations };
}

const sum = (rows, column) => rows.reduce((total, row) => total + row[column], 0n);
