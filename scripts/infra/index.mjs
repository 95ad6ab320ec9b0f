// The servers that the apps need: three databases, a broker, a Redis; found, installed or started whichever way this
// machine allows. `up` may be called at any time by anyone: it only ever adds what is missing.
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { withLock } from './lock.mjs';
import { KINDS, placeOf, ROOT, readServers, readState, SERVERS, writeServers, writeState } from './place.mjs';
import { probe } from './readiness.mjs';
import { chooseWays, WAYS } from './ways.mjs';

export { control } from './control.mjs';
export { InfraError, readServers } from './place.mjs';

/**
 * Resolves once everything asked for answers. Servers = { name, way: {databases, rabbitmq, redis}, databases: {order,
 * payment, inventory}, rabbitmq, management, redis }, all URLs; those of the databases name no database, the broker's no vhost.
 */
export async function up(name, { say = console.log, only = KINDS } = {}) {
  return exclusively(name, say, async () => {
    const context = contextOf(name, say);
    const ways = await chooseWays(context, only);
    for (const kind of only) await leaveOldWay(context, kind, ways[kind]);
    Object.assign(context.state.ways, ways);
    context.save();
    for (const way of new Set(Object.values(ways))) {
      await WAYS[way].start(
        context,
        only.filter((kind) => ways[kind] === way),
      );
    }
    context.save();
    return publish(context, only);
  });
}

/** Stops everything of this name that we started, also what an interrupted `up` left. Data stays unless `wipe`. */
export async function down(name, { say = console.log, wipe = false } = {}) {
  return exclusively(name, say, async () => {
    const context = contextOf(name, say);
    for (const way of ['local', 'compose']) await WAYS[way].stop(context, KINDS, { wipe });
    rmSync(join(placeOf(name), 'servers.json'), { force: true });
    if (wipe) rmSync(placeOf(name), { recursive: true, force: true });
    else if (Object.keys(context.state.ways).length > 0) context.save();
  });
}

/** One row per server: { server, way, up, detail, url } with the password left out of the url. */
export async function status(name) {
  const servers = readServers(name);
  if (!servers) return SERVERS.map((server) => ({ server, way: '-', up: false, detail: 'not started', url: '' }));
  return Promise.all(
    SERVERS.map(async (server) => {
      const url = servers.databases?.[server] ?? servers[server];
      const way = servers.way[servers.databases?.[server] ? 'databases' : server] ?? '-';
      if (!url) return { server, way, up: false, detail: 'not started', url: '' };
      const failure = await probe(server, servers).then(
        () => null,
        (error) => error.message,
      );
      return { server, way, up: failure === null, detail: failure ?? 'ready', url: withoutPassword(url) };
    }),
  );
}

export function withoutPassword(url) {
  const shown = new URL(url);
  if (shown.password) shown.password = '***';
  return shown.href;
}

function contextOf(name, say) {
  const state = readState(name);
  state.secrets.database ??= randomBytes(18).toString('hex');
  state.secrets.broker ??= randomBytes(18).toString('hex');
  state.secrets.redis ??= randomBytes(18).toString('hex');
  state.secrets.cookie ??= randomBytes(18).toString('hex');
  return { name, state, say, save: () => writeState(name, state) };
}

/** A kind of server that is taken over by another way must not go on running, unseen, the old way. */
async function leaveOldWay(context, kind, way) {
  const old = context.state.ways[kind];
  if (!old || old === way) return;
  context.say(`${kind}: now by way of ${way}, no longer ${old}`);
  await WAYS[old].stop(context, [kind], {});
}

function publish({ name, state }, only) {
  const before = readServers(name);
  const kinds = KINDS.filter((kind) => only.includes(kind) || before?.way[kind]);
  const found = Object.assign({}, ...kinds.map((kind) => WAYS[state.ways[kind]].urls(state, kind)));
  const servers = { name, way: Object.fromEntries(kinds.map((kind) => [kind, state.ways[kind]])), ...found };
  writeServers(name, servers);
  return servers;
}

async function exclusively(name, say, work) {
  placeOf(name); // refuses a bad name before anything is written
  const release = holdSignals(name, say);
  try {
    return await withLock(join(ROOT, '.infra', `${name}.lock`), { say, what: `the servers of ${name}` }, work);
  } finally {
    release();
  }
}

const ours = new Set();

/**
 * A handled signal is delivered between two steps, never between starting a server and writing its pid down, so that
 * `down` finds everything. Whoever installed a handler of their own (a test runner, the demo) stays in charge.
 */
function holdSignals(name, say) {
  const stop = (signal) => {
    if (process.listeners(signal).some((listener) => !ours.has(listener))) return;
    say(`interrupted: what was started is written down; "npm run infra -- down --of ${name}" ends it`);
    process.exit(signal === 'SIGINT' ? 130 : 143); // the lock of a process that is gone counts for nothing
  };
  ours.add(stop);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, stop);
  return () => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.off(signal, stop);
    ours.delete(stop);
  };
}
