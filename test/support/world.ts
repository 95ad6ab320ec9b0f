import { readFileSync, writeFileSync } from 'node:fs';
import { createConnection } from 'mysql2/promise';
import { type AuditReport, audit } from '../../scripts/audit/index.mjs';
import { testWorldsFile } from '../../scripts/audit/worlds.mjs';
import { readServers } from '../../scripts/infra/index.mjs';
import { withLock } from '../../scripts/infra/lock.mjs';
import { createWorld } from '../../scripts/infra/world.mjs';

export type AppName = 'order' | 'payment' | 'inventory';

/** The databases, vhost and Redis number of one spec file on the shared servers. */
export interface World {
  readonly name: string;
  readonly databases: Record<AppName, string>;
  readonly rabbitmq: string;
  readonly management: string;
  readonly vhost: string;
  readonly redis: string;
}

/** The servers that `npm test` has brought up. */
export function servers() {
  const found = readServers('test');
  if (!found) throw new Error('the test servers are down: run `npm test`, or `npm run infra -- up --of test` first');
  return found;
}

/** A fresh world. It is kept after the run, and the audit at the end examines it, unless the tests break it on purpose. */
export async function freshWorld(name: string, { audited = true }: { audited?: boolean } = {}): Promise<World> {
  const world: World = await createWorld(servers(), name);
  await withLock(`${testWorldsFile()}.lock`, { say: () => {}, what: 'the list of worlds' }, () =>
    register(world, audited),
  );
  return world;
}

function register(world: World, audited: boolean): void {
  const others = knownWorlds().filter(({ name }) => name !== world.name);
  writeFileSync(testWorldsFile(), JSON.stringify(audited ? [...others, world] : others, null, 2), { mode: 0o600 });
}

function knownWorlds(): World[] {
  try {
    return JSON.parse(readFileSync(testWorldsFile(), 'utf8'));
  } catch {
    return [];
  }
}

/** Asks one of the world's databases; BIGINTs that fit come as numbers. */
export async function sql<Row = Record<string, unknown>>(
  world: World,
  app: AppName,
  query: string,
  values: unknown[] = [],
): Promise<Row[]> {
  const connection = await createConnection({ uri: world.databases[app], timezone: 'Z', supportBigNumbers: true });
  try {
    const [rows] = await connection.query(query, values);
    return rows as Row[];
  } finally {
    await connection.end();
  }
}

/** The invariants of the whole world, once it is quiet. */
export function auditOf(world: World, settleMs = 30_000): Promise<AuditReport> {
  return audit(world, { settleMs, brokerLagMs: 0 });
}
