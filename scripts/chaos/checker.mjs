// The judge of a run. It trusts no app: it reads the databases and the broker, and compares what clients were told.

import { openDatabases } from '../audit/databases.mjs';
import { audit } from '../audit/index.mjs';

/** @returns {Promise<{ report: object, broken: string[], counts: Record<string, number> }>} `broken`: what clients were told and is not so */
export async function judge(world, clients, { settleMs }) {
  const report = await audit(world, { settleMs });
  const databases = await openDatabases(world);
  try {
    const rows = await databases.query('order', 'SELECT order_id AS id, status FROM orders');
    const statuses = new Map(rows.map(({ id, status }) => [id, status]));
    const counts = {};
    const broken = [...clients.wrong];
    for (const [key, { route, orderId, status }] of clients.told) {
      if (route === 'POST /restocks') continue;
      // What was refused at once may be written nowhere.
      const really = statuses.get(orderId) ?? (status === 'CANCELLED' ? 'CANCELLED' : 'missing');
      counts[really] = (counts[really] ?? 0) + 1;
      const isKept = status === 'PENDING' ? really === 'CONFIRMED' || really === 'CANCELLED' : really === status;
      if (!isKept) broken.push(`${route} with ${key} was told ${status} for ${orderId}, which is ${really}`);
    }
    return { report, broken, counts };
  } finally {
    await databases.close();
  }
}
