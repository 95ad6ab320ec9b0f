// Which worlds exist: the demo's, and those that the tests have registered.
import { join } from 'node:path';
import { OperatorError } from '../command/entry.mjs';
import { down, status, up } from '../infra/index.mjs';
import { DATABASES, makePrivateDir, placeOf, readJson, readServers, writeJson } from '../infra/place.mjs';

/** The sets of servers that have worlds, by the name that `--of` takes. */
export const SETS = ['demo', 'test'];

const demoFile = () => join(placeOf('demo'), 'world.json');

/** Where the test support writes the list of worlds that are to be audited: an array of worlds. */
export const testWorldsFile = () => join(placeOf('test'), 'worlds.json');

/** Remembered beside the servers, so that the audit and the trace find the world when the demo is down. */
export function rememberDemoWorld(world) {
  makePrivateDir(placeOf('demo'));
  writeJson(demoFile(), world);
}

/** The worlds of a set, as they were written down. */
export function knownWorlds(of) {
  if (!SETS.includes(of)) throw new OperatorError(`there is no "${of}": --of takes ${SETS.join(' or ')}`);
  if (of === 'test') return readJson(testWorldsFile()) ?? [];
  const world = readJson(demoFile());
  return world ? [world] : [];
}

/**
 * Runs `work` with the worlds of a set at the addresses where its servers are now. Servers that are down are started
 * for it, and stopped again.
 * @param {(worlds: object[]) => Promise<T>} work
 * @template T
 */
export async function withWorlds(of, { say }, work) {
  const worlds = knownWorlds(of);
  if (worlds.length === 0) return work([]);
  const wasUp = await isUp(of);
  if (!wasUp) say(`the servers of ${of} are down: starting them for this`);
  try {
    const servers = wasUp ? readServers(of) : await up(of, { say });
    return await work(worlds.map((world) => atServers(world, servers)));
  } finally {
    if (!wasUp) await down(of, { say });
  }
}

export async function isUp(of) {
  return readServers(of) !== null && (await status(of)).every((row) => row.up);
}

/** A server that was started again may have another port or password; the path (database, vhost) is the world's own. */
function atServers(world, servers) {
  const move = (url, server) => Object.assign(new URL(server), { pathname: new URL(url).pathname }).href;
  return {
    ...world,
    databases: Object.fromEntries(DATABASES.map((app) => [app, move(world.databases[app], servers.databases[app])])),
    rabbitmq: move(world.rabbitmq, servers.rabbitmq),
    management: servers.management,
    redis: move(world.redis, servers.redis),
  };
}
