// What TCC transactions that wait for a person rightly still hold: their Try is done, their second phase is not.
import { fits } from './tcc-names.mjs';

/**
 * @param {{ gid: string | null }[]} parked what waits for a person
 * @returns {Promise<{ frozen: Map<string, bigint>, reserved: Map<string, bigint> }>} cents by buyer, pieces by sku
 */
export async function heldByParkedTcc(databases, parked) {
  const held = { frozen: new Map(), reserved: new Map() };
  const gids = [...new Set(parked.map(({ gid }) => gid).filter(Boolean))];
  if (gids.length === 0) return held;
  for (const { participant, args } of await openBranches(databases, gids)) {
    const given = JSON.parse(args);
    if (participant === 'payment.funds') add(held.frozen, given.buyerId, given.amount);
    if (participant === 'inventory.stock') add(held.reserved, given.sku, given.quantity);
  }
  return held;
}

/** Branches, whichever app has begun them, whose participant has let a Try through and nothing after it. */
async function openBranches(databases, gids) {
  const from = async (table, sql) => {
    const apps = databases.apps.filter((app) => databases.has(app, table));
    const found = await Promise.all(apps.map((app) => databases.query(app, sql, [gids])));
    return found.flatMap((rows, index) => rows.map((row) => ({ ...row, app: apps[index] })));
  };
  const barriers = await from(
    'dtx_tcc_barrier',
    'SELECT gid, branch, participant, initiator, incarnation, op FROM dtx_tcc_barrier WHERE gid IN (?)',
  );
  const branches = await from(
    'dtx_tcc_branch',
    `SELECT b.gid, b.branch, b.participant, b.args, t.incarnation
     FROM dtx_tcc_branch AS b JOIN dtx_tcc AS t ON t.id = b.gid WHERE b.gid IN (?)`,
  );
  const keyOf = ({ gid, branch, participant }) => `${gid} ${branch} ${participant}`;
  const rowsOf = (one) =>
    barriers.filter((row) => keyOf(row) === keyOf(one) && fits(row, { ...one, initiator: one.app }));
  return branches.filter((one) => String(rowsOf(one).map(({ op }) => op)) === 'try');
}

function add(map, key, amount) {
  map.set(key, (map.get(key) ?? 0n) + BigInt(amount));
}
