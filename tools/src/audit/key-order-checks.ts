// Invariants of messages with a key once the system is quiet.
import { tableNames } from 'nest-dtx/testing';
import type { Databases } from '../sandbox/database-reader.js';
import type { App } from '../servers/server-set.js';
import type { AuditContext, Check } from './check-types.js';

interface HeadRow {
  readonly id: string;
  readonly key: string;
  readonly state: string;
  readonly onParked: string;
  readonly open: bigint;
}

/** No key stands still without a reason: each head is PARKED, or HELD for a delivery that its receiver has parked. */
export async function checkKeyOrder({ databases }: AuditContext): ReturnType<Check> {
  const apps = databases.apps.filter((app) => databases.has(app, tableNames.keyed));
  if (apps.length === 0) return null;
  const figures = { keys: 0, held: 0, waiting: 0 };
  const violations: string[] = [];
  for (const app of apps) {
    const heads = await headsOf(databases, app);
    const parked = await parkedDeliveries(
      databases,
      heads.filter(({ state }) => state === 'HELD').map(({ id }) => id),
    );
    figures.keys += heads.length;
    for (const head of heads) {
      const isHeld = head.state === 'HELD' || head.state === 'PARKED';
      if (isHeld) figures.held += 1;
      figures.waiting += Number(head.open) - 1;
      const problem = problemOf(head, parked);
      if (problem) violations.push(`${app}: key ${head.key} with ${head.open} open messages: ${head.id} ${problem}`);
    }
    violations.push(...(await wrongPlaces(databases, app)));
  }
  return { figures, violations };
}

function problemOf({ id, state, onParked }: HeadRow, parked: ReadonlySet<string>): string | null {
  if (state === 'WAITING') return 'is the head and WAITING, so nothing sends it';
  if (state === 'PARKED' && onParked === 'pass') return 'is PARKED and was not passed';
  if (state === 'HELD' && !parked.has(id)) return 'is HELD, and no receiver has it PARKED';
  return null;
}

/** The first open message of each key. */
function headsOf(databases: Databases, app: App): Promise<HeadRow[]> {
  return databases.query<HeadRow>(
    app,
    `SELECT m.id, m.open_key AS \`key\`, m.state, m.on_parked AS onParked, first_of.open
     FROM (SELECT open_key, MIN(seq) AS seq, COUNT(*) AS open FROM ${tableNames.keyed} WHERE open_key IS NOT NULL GROUP BY open_key) first_of
     JOIN ${tableNames.keyed} m ON m.open_key = first_of.open_key AND m.seq = first_of.seq`,
  );
}

/** Those of these messages that some receiver has parked. */
async function parkedDeliveries(databases: Databases, ids: readonly string[]): Promise<Set<string>> {
  const found = new Set<string>();
  if (ids.length === 0) return found;
  for (const app of databases.apps.filter((one) => databases.has(one, tableNames.inbox))) {
    const rows = await databases.query<{ message_id: string }>(
      app,
      `SELECT message_id FROM ${tableNames.inbox} WHERE state = 'PARKED' AND message_id IN (?)`,
      [ids],
    );
    for (const { message_id: id } of rows) found.add(id);
  }
  return found;
}

/** A place that two open messages share, or that is beyond the last one of its key. */
async function wrongPlaces(databases: Databases, app: App): Promise<string[]> {
  const rows = await databases.query<{ key: string; seq: bigint; number: bigint; last: bigint | null }>(
    app,
    `SELECT m.open_key AS \`key\`, m.seq, COUNT(*) AS number, MAX(k.seq) AS last
     FROM ${tableNames.keyed} m LEFT JOIN ${tableNames.keyedSeq} k ON k.stream_key = m.open_key
     WHERE m.open_key IS NOT NULL GROUP BY m.open_key, m.seq HAVING COUNT(*) > 1 OR last IS NULL OR last < m.seq`,
  );
  return rows.map(({ key, seq, number, last }) =>
    Number(number) > 1
      ? `${app}: key ${key} has ${number} messages at place ${seq}`
      : `${app}: key ${key} has a message at place ${seq}, and its last place is ${last}`,
  );
}
