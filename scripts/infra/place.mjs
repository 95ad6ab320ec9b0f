// Where a set of servers keeps what it must remember: `.infra/<name>/` of the repository, never outside it.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
export const DATABASES = ['order', 'payment', 'inventory'];
export const SERVERS = [...DATABASES, 'rabbitmq', 'redis'];
export const KINDS = ['databases', 'rabbitmq', 'redis'];

/** A mistake or a lack that the operator can do something about: shown as one line, without a stack. */
export class InfraError extends Error {}

export const serversOf = (kinds) => SERVERS.filter((server) => kinds.includes(kindOf(server)));
export const kindOf = (server) => (DATABASES.includes(server) ? 'databases' : server);

export function placeOf(name) {
  if (!/^[a-z0-9][a-z0-9_-]{0,39}$/.test(name)) {
    throw new InfraError(`"${name}" cannot name a set of servers: use 1 to 40 of a-z, 0-9, _ and -, such as demo`);
  }
  return join(ROOT, '.infra', name);
}

/**
 * Makes a folder that only its owner may look into, since passwords are kept there. One that exists keeps its mode: it is
 * not ours to change, and the files with passwords are private by themselves.
 */
export function makePrivateDir(dir) {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  return dir;
}

/** Written beside and renamed, so that a reader (or a crash) never meets half a file. */
export function writePrivateFile(path, text) {
  const beside = `${path}.${process.pid}.new`;
  rmSync(beside, { force: true });
  writeFileSync(beside, text, { mode: 0o600 });
  renameSync(beside, path);
}

export function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null;
    throw new InfraError(`${path} cannot be read (${error.message}): repair it, or remove it with its folder`);
  }
}

export const writeJson = (path, value) => writePrivateFile(path, `${JSON.stringify(value, null, 2)}\n`);

// Two files per set: state.json is what the next `up` needs (ports, passwords, ways), servers.json is the outside's view.
export const readState = (name) => readJson(join(placeOf(name), 'state.json')) ?? { ways: {}, ports: {}, secrets: {} };
export const writeState = (name, state) => writeJson(join(makePrivateDir(placeOf(name)), 'state.json'), state);
export const readServers = (name) => readJson(join(placeOf(name), 'servers.json'));
export const writeServers = (name, servers) => writeJson(join(makePrivateDir(placeOf(name)), 'servers.json'), servers);
