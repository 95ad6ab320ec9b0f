// What must hold for Idempotency-Keys: a key is written in the very commit that makes its purchase exist.

const CHUNK = 1_000;
const LISTED_MAX = 20;

/** The routes whose keys stand for a purchase. */
const PURCHASE_ROUTES = ['POST /orders', 'POST /orders/xa', 'POST /checkouts', 'POST /flash-sales'];

/** One purchase per key, one key per purchase, and no key whose purchase does not exist. */
export async function checkKeys({ databases, parked }) {
  const apps = databases.apps.filter((app) => databases.has(app, 'dtx_idempotency'));
  if (apps.length === 0) return null;
  const violations = [];
  let keys = 0n;
  for (const app of apps) {
    const [{ number }] = await databases.query(app, 'SELECT COUNT(*) AS number FROM dtx_idempotency');
    keys += number;
    violations.push(...(await sharedPurchases(databases, app)), ...(await keysWithoutPurchase(databases, app, parked)));
  }
  return { figures: { keys }, violations };
}

async function sharedPurchases(databases, app) {
  const rows = await databases.query(
    app,
    `SELECT gid, COUNT(*) AS number FROM dtx_idempotency GROUP BY gid HAVING COUNT(*) > 1 LIMIT ${LISTED_MAX}`,
  );
  return rows.map(({ gid, number }) => `${app}: ${gid} was made by ${number} different keys`);
}

/** A refusal leaves its outcome beside the key, and need not leave an order. */
async function keysWithoutPurchase(databases, app, parked) {
  if (!databases.has('order', 'orders')) return [];
  const waiting = new Set(parked.map(({ gid }) => gid));
  const found = [];
  for (let after = { route: '', key: Buffer.alloc(0) }; after; ) {
    const rows = await databases.query(
      app,
      `SELECT route, idempotency_key, gid, outcome IS NULL AS is_open FROM dtx_idempotency
       WHERE (route, idempotency_key) > (?, ?) AND route IN (?) ORDER BY route, idempotency_key LIMIT ${CHUNK}`,
      [after.route, after.key, PURCHASE_ROUTES],
    );
    const open = rows.filter(({ gid, is_open }) => Number(is_open) === 1 && !waiting.has(gid));
    const known = await knownOrders(databases, open);
    for (const { gid, route } of open)
      if (!known.has(gid)) found.push(`${app}: a key of ${route} stands for ${gid}, which is no order`);
    const last = rows.length === CHUNK ? rows[CHUNK - 1] : null;
    after = last && { route: last.route, key: last.idempotency_key };
  }
  return found;
}

async function knownOrders(databases, keys) {
  if (keys.length === 0) return new Set();
  const rows = await databases.query('order', 'SELECT order_id FROM orders WHERE order_id IN (?)', [
    keys.map(({ gid }) => gid),
  ]);
  return new Set(rows.map(({ order_id }) => order_id));
}
