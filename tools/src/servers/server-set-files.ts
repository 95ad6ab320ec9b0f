// The two files of a set of servers. `state.json` holds what the next `up` needs (ports, passwords, provisioning).
// `servers.json` holds the URLs for everything else.
import { join } from 'node:path';
import { makePrivateDir, placeOf, readJson, writeJson } from '../infra-files.js';
import type { ServerState, Servers } from './server-set.js';

const stateFile = (name: string) => join(placeOf(name), 'state.json');
const serversFile = (name: string) => join(placeOf(name), 'servers.json');

export const readState = (name: string): ServerState =>
  readJson<ServerState>(stateFile(name)) ?? { ways: {}, ports: {}, secrets: {} };

export function writeState(name: string, state: ServerState): void {
  makePrivateDir(placeOf(name));
  writeJson(stateFile(name), state);
}

/** Null if none were started. A set that was started in part has only some of the URLs. */
export const readServers = (name: string): Servers | null => readJson<Servers>(serversFile(name));

export function writeServers(name: string, servers: Partial<Servers>): void {
  makePrivateDir(placeOf(name));
  writeJson(serversFile(name), servers);
}
