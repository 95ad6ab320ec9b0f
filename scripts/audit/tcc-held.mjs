// What TCC transactions that wait for a person rightly still hold: their Try is done, their second phase is not.

/**
 * @param {{ gid: string | null }[]} parked what waits for a person
 * @returns {Promise<{ frozen: Map<string, bigint>, reserved: Map<string, bigint> }>} cents by buyer, pieces by sku
 */
export async function heldByParkedTcc(databases, parked) {
  const held = { frozen: new Map(), reserved: new Map() };
  const initiator = databases.apps.find((app) => databases.has(app, 'dtx_tcc_branch'));
  const gids = [...new Set(parked.map(({ gid }) => gid).filter(Boolean))];
  if (!initiator || gids.length === 0) return held;
  for (const { participant, args } of await openBranches(databases, initiator, gids)) {
    const given = JSON.parse(args);
    if (participant === 'payment.funds') add(held.frozen, given.buyerId, given.amount);
    if (participant === 'inventory.stock') add(held.reserved, given.sku, given.quantity);
  }
  return held;
}

/** Branches whose participant has let a Try through and nothing after it. */
async function openBranches(databases, initiator, gids) {
  const branches = await databases.query(
    initiator,
    'SELECT gid, branch, participant, args FROM dtx_tcc_branch WHERE gid IN (?)',
    [gids],
  );
  const open = [];
  for (const app of databases.apps.filter((one) => databases.has(one, 'dtx_tcc_barrier'))) {
    const barriers = await databases.query(app, 'SELECT gid, branch, op FROM dtx_tcc_barrier WHERE gid IN (?)', [gids]);
    const opsOf = ({ gid, branch }) =>
      barriers.filter((one) => one.gid === gid && Number(one.branch) === Number(branch)).map(({ op }) => op);
    open.push(...branches.filter((one) => one.participant.startsWith(`${app}.`) && opsOf(one).join() === 'try'));
  }
  return open;
}

function add(map, key, amount) {
  map.set(key, (map.get(key) ?? 0n) + BigInt(amount));
}
