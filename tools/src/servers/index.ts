// The servers that the apps need: three databases, a broker, a Redis. `up` may be called by any command at any time,
// because it only adds missing parts.
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../cli/error-text.js';
import type { Say } from '../cli/say-type.js';
import { placeOf, ROOT } from '../infra-files.js';
import { withLock } from '../process/command-lock.js';
import { chooseProvisions, PROVISIONING } from './provisioning.js';
import { probe } from './readiness.js';
import {
  isApp,
  KINDS,
  type Kind,
  kindOf,
  type Provision,
  SERVERS,
  type Server,
  type ServerSet,
  type Servers,
  type ServerUrls,
} from './server-set.js';
import { readServers, readState, writeServers, writeState } from './server-set-files.js';

export { brokerCtl, control } from './server-control.js';
export { readServers } from './server-set-files.js';

/** Resolves once all servers of these kinds answer, with the URLs of all servers that the set has. */
export async function up(
  name: string,
  { say = console.log, only = KINDS }: { say?: Say; only?: readonly Kind[] } = {},
): Promise<Servers> {
  return exclusively(name, say, async () => {
    const set = serverSet(name, say);
    const chosen = await chooseProvisions(set, only);
    for (const kind of only) await leaveOldProvision(set, kind, chosen[kind]!);
    Object.assign(set.state.ways, chosen);
    set.save();
    for (const provision of new Set(Object.values(chosen))) {
      const kinds = only.filter((kind) => chosen[kind] === provision);
      await PROVISIONING[provision].start(set, kinds);
    }
    set.save();
    return publish(set, only);
  });
}

/** Stops every server of this name that `up` has started, also after an interrupted `up`. Data stays unless `wipe`. */
export async function down(
  name: string,
  { say = console.log, wipe = false }: { say?: Say; wipe?: boolean } = {},
): Promise<void> {
  return exclusively(name, say, async () => {
    const set = serverSet(name, say);
    for (const provision of ['local', 'compose'] as const) await PROVISIONING[provision].stop(set, KINDS, { wipe });
    rmSync(join(placeOf(name), 'servers.json'), { force: true });
    if (wipe) rmSync(placeOf(name), { recursive: true, force: true });
    else if (Object.keys(set.state.ways).length > 0) set.save();
  });
}

export interface ServerStatus {
  readonly server: Server;
  readonly way: Provision | '-';
  readonly up: boolean;
  readonly detail: string;
  /** Without its password. */
  readonly url: string;
}

/** One row per server. */
export async function status(name: string): Promise<ServerStatus[]> {
  const servers = readServers(name);
  return Promise.all(
    SERVERS.map(async (server) => {
      const url = servers && (isApp(server) ? servers.databases?.[server] : servers[server]);
      const way = servers?.way[kindOf(server)] ?? '-';
      if (!url) return { server, way, up: false, detail: 'not started', url: '' };
      const failure = await probe(server, servers).then(
        () => null,
        (error: unknown) => messageOf(error),
      );
      return { server, way, up: failure === null, detail: failure ?? 'ready', url: withoutPassword(url) };
    }),
  );
}

export function withoutPassword(url: string): string {
  const shown = new URL(url);
  if (shown.password) shown.password = '***';
  return shown.href;
}

function serverSet(name: string, say: Say): ServerSet {
  const state = readState(name);
  state.secrets.database ??= randomBytes(18).toString('hex');
  state.secrets.broker ??= randomBytes(18).toString('hex');
  state.secrets.redis ??= randomBytes(18).toString('hex');
  state.secrets.cookie ??= randomBytes(18).toString('hex');
  return { name, state, say, save: () => writeState(name, state) };
}

/** If a kind of server is now provided in another way, its old servers must not go on running unseen. */
async function leaveOldProvision(set: ServerSet, kind: Kind, provision: Provision): Promise<void> {
  const old = set.state.ways[kind];
  if (!old || old === provision) return;
  set.say(`${kind}: now by way of ${provision}, no longer ${old}`);
  await PROVISIONING[old].stop(set, [kind], {});
}

function publish({ name, state }: ServerSet, only: readonly Kind[]): Servers {
  const before = readServers(name);
  const kinds = KINDS.filter((kind) => only.includes(kind) || before?.way[kind]);
  const urls: Partial<ServerUrls> = {};
  const way: Servers['way'] = {};
  for (const kind of kinds) {
    way[kind] = state.ways[kind];
    Object.assign(urls, PROVISIONING[state.ways[kind]!].urls(state, kind));
  }
  const servers = { name, way, ...urls } as Servers;
  writeServers(name, servers);
  return servers;
}

async function exclusively<T>(name: string, say: Say, work: () => Promise<T>): Promise<T> {
  placeOf(name); // rejects a bad name before anything is written
  const release = holdSignals(name, say);
  try {
    return await withLock(join(ROOT, '.infra', `${name}.lock`), { say, what: `the servers of ${name}` }, work);
  } finally {
    release();
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const ours = new Set<unknown>();

/**
 * A handled signal is delivered between two steps, never between the start of a server and the writing of its pid, so that
 * `down` finds every server. A program with handlers of its own (a test runner, the demo) stays in charge.
 */
function holdSignals(name: string, say: Say): () => void {
  const stop = (signal: NodeJS.Signals) => {
    if (process.listeners(signal).some((listener) => !ours.has(listener))) return;
    say(`interrupted: the started servers are recorded; "npm run infra -- down --of ${name}" ends them`);
    process.exit(signal === 'SIGINT' ? 130 : 143); // the lock of a dead process is broken by the next one
  };
  ours.add(stop);
  for (const signal of SIGNALS) process.on(signal, stop);
  return () => {
    for (const signal of SIGNALS) process.off(signal, stop);
    ours.delete(stop);
  };
}
