import { readFileSync, writeFileSync } from 'node:fs';
import { createConnection } from 'mysql2/promise';
import { type AuditReport, audit } from '../../tools/src/audit/index.js';
import { withLock } from '../../tools/src/process/lock.js';
import { testSandboxesFile } from '../../tools/src/sandbox/known-sandboxes.js';
import { createSandbox } from '../../tools/src/sandbox/sandbox.js';
import { readServers } from '../../tools/src/servers/state.js';

export type AppName = 'order' | 'payment' | 'inventory';

/** What one spec file has to itself on the shared servers. */
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

/** A fresh world; it is kept after the run, and the audit at the end looks at it (unless it is meant to be broken). */
export async function freshWorld(name: string, { audited = true }: { audited?: boolean } = {}): Promise<World> {
  const world: World = await createSandbox(servers(), name);
  await withLock(`${testSandboxesFile()}.lock`, { say: () => {}, what: 'the list of worlds' }, () =>
    register(world, audited),
  );
  return world;
}

function register(world: World, audited: boolean): void {
  const others = knownWorlds().filter(({ name }) => name !== world.name);
  writeFileSync(testSandboxesFile(), JSON.stringify(audited ? [...others, world] : others, null, 2), { mode: 0o600 });
}

function knownWorlds(): World[] {
  try {
    return JSON.parse(readFileSync(testSandboxesFile(), 'utf8'));
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
