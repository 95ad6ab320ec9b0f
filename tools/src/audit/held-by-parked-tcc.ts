// What parked TCC transactions still hold: their Try is done, their second phase is not.
import { tableNames } from 'nest-dtx/testing';
import type { Databases } from '../sandbox/database-reader.js';
import type { App } from '../servers/server-set.js';
import type { ParkedRow } from './durable-rows.js';
import { fits } from './tcc-barrier-matching.js';

export interface HeldByTcc {
  /** Cents by buyer. */
  readonly frozen: Map<string, bigint>;
  /** Pieces by sku. */
  readonly reserved: Map<string, bigint>;
}

interface BranchKey {
  gid: string;
  branch: string;
  participant: string;
}
type BarrierRow = BranchKey & { initiator: string; incarnation: string; op: string };
type BranchRow = BranchKey & { args: string; incarnation: string | null };

export async function heldByParkedTcc(databases: Databases, parked: readonly ParkedRow[]): Promise<HeldByTcc> {
  const held: HeldByTcc = { frozen: new Map(), reserved: new Map() };
  const gids = [...new Set(parked.map(({ gid }) => gid).filter((gid) => gid !== null))];
  if (gids.length === 0) return held;
  for (const { participant, args } of await openBranches(databases, gids)) {
    const given = JSON.parse(args) as { buyerId: string; amount: number; sku: string; quantity: number };
    if (participant === 'payment.funds') add(held.frozen, given.buyerId, given.amount);
    if (participant === 'inventory.stock') add(held.reserved, given.sku, given.quantity);
  }
  return held;
}

/** Branches of any initiator whose participant has let a Try through and nothing after it. */
async function openBranches(databases: Databases, gids: readonly string[]): Promise<BranchRow[]> {
  const from = async <Row>(table: string, sql: string): Promise<Array<Row & { app: App }>> => {
    const apps = databases.apps.filter((app) => databases.has(app, table));
    const found = await Promise.all(apps.map((app) => databases.query<Row>(app, sql, [gids])));
    return found.flatMap((rows, index) => rows.map((row) => ({ ...row, app: apps[index]! })));
  };
  const barriers = await from<BarrierRow>(
    tableNames.tccBarrier,
    `SELECT gid, branch, participant, initiator, incarnation, op FROM ${tableNames.tccBarrier} WHERE gid IN (?)`,
  );
  const branches = await from<BranchRow>(
    tableNames.tccBranch,
    `SELECT b.gid, b.branch, b.participant, b.args, t.incarnation
     FROM ${tableNames.tccBranch} AS b JOIN ${tableNames.tcc} AS t ON t.id = b.gid WHERE b.gid IN (?)`,
  );
  const keyOf = ({ gid, branch, participant }: BranchKey) => `${gid} ${branch} ${participant}`;
  const rowsOf = (one: BranchRow & { app: App }) =>
    barriers.filter((row) => keyOf(row) === keyOf(one) && fits(row, { ...one, initiator: one.app }));
  return branches.filter((one) => String(rowsOf(one).map(({ op }) => op)) === 'try');
}

function add(map: Map<string, bigint>, key: string, amount: number): void {
  map.set(key, (map.get(key) ?? 0n) + BigInt(amount));
}
