// What must hold for best-effort notification: where results are told at all, each one is told, or a person knows.
const CHUNK = 1_000;
const LISTED_MAX = 20;
/** The demo's merchant, which the order app plays; whom a purchase names instead is none of ours to look at. */
const MERCHANT_PATH = '/payment-results';

export async function checkNotifications({ databases }) {
  const app = databases.apps.find((one) => databases.has(one, 'dtx_notification'));
  if (!app) return null;
  const rows = await databases.query(app, 'SELECT state, COUNT(*) AS number FROM dtx_notification GROUP BY state');
  if (rows.length === 0) return null;
  const figures = Object.fromEntries(rows.map(({ state, number }) => [state, number]));
  const violations = [...(await neverRecorded(databases, app)), ...(await neverArrived(databases, app))];
  if (databases.has('order', 'payment_result')) {
    const known = 'SELECT source, COUNT(*) AS number FROM payment_result GROUP BY source';
    for (const { source, number } of await databases.query('order', known)) figures[`results ${source}`] = number;
  }
  return { figures, violations };
}

/** A world with a default target tells of every payment. */
async function neverRecorded(databases, app) {
  if (!databases.has(app, 'payment') || !(await hasDefaultTarget(databases, app))) return [];
  const rows = await databases.query(
    app,
    `SELECT p.order_id AS id, p.status FROM payment p
     LEFT JOIN dtx_notification n ON n.id = CONCAT(p.order_id, '.', p.status) WHERE n.id IS NULL LIMIT ${LISTED_MAX}`,
  );
  return rows.map(({ id, status }) => `payment ${id} is ${status}, and no notification of it was recorded`);
}

async function hasDefaultTarget(databases, app) {
  const sql = `SELECT 1 FROM dtx_notification WHERE target LIKE '%${MERCHANT_PATH}' LIMIT 1`;
  return (await databases.query(app, sql)).length > 0;
}

/** DELIVERED is the merchant's word: it must have the result, once. (A row settled by hand is CLOSED instead.) */
async function neverArrived(databases, app) {
  if (!databases.has('order', 'payment_result')) return [];
  const violations = [];
  for (let after = ''; after !== null; ) {
    const sql = `SELECT id FROM dtx_notification WHERE id > ? AND state = 'DELIVERED' AND target LIKE '%${MERCHANT_PATH}' ORDER BY id LIMIT ${CHUNK}`;
    const ids = (await databases.query(app, sql, [after])).map(({ id }) => id);
    const found = ids.length === 0 ? [] : await arrived(databases, ids);
    const missing = ids.filter((id) => !found.has(id));
    violations.push(...missing.map((id) => `notification ${id} is DELIVERED, and the merchant does not know of it`));
    after = ids.length === CHUNK ? ids[CHUNK - 1] : null;
  }
  return violations;
}

async function arrived(databases, ids) {
  const rows = await databases.query('order', 'SELECT event_id AS id FROM payment_result WHERE event_id IN (?)', [ids]);
  return new Set(rows.map(({ id }) => id));
}
