// Which sandboxes exist: that of the demo, and those that the tests have registered.
import { join } from 'node:path';
import { OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say.js';
import { makePrivateDir, placeOf, readJson, writeJson } from '../infra-files.js';
import { down, status, up } from '../servers/index.js';
import { perApp, readServers, type Servers } from '../servers/state.js';
import type { Sandbox } from './sandbox.js';

/** The sets of servers that have sandboxes. */
export const SETS = ['demo', 'test'] as const;
export type SetName = (typeof SETS)[number];

/** The sets that `--of` asks for: all of them by default. */
export function setsOf(of: string | undefined): readonly SetName[] {
  if (of === undefined) return SETS;
  const known = SETS.find((one) => one === of);
  if (!known) throw new OperatorError(`unknown set "${of}": --of takes ${SETS.join(' or ')}`);
  return [known];
}

const demoFile = () => join(placeOf('demo'), 'sandbox.json');

/** Where the test support writes the list of sandboxes that are to be audited. */
export const testSandboxesFile = (): string => join(placeOf('test'), 'sandboxes.json');

/** Remembered beside the servers, so that audit and trace find the sandbox when the demo is down. */
export function rememberDemoSandbox(sandbox: Sandbox): void {
  makePrivateDir(placeOf('demo'));
  writeJson(demoFile(), sandbox);
}

/** The sandboxes of a set with the addresses that they had when they were made. */
export function knownSandboxes(of: SetName): Sandbox[] {
  if (of === 'test') return readJson<Sandbox[]>(testSandboxesFile()) ?? [];
  const sandbox = readJson<Sandbox>(demoFile());
  return sandbox ? [sandbox] : [];
}

/** Runs `work` with the sandboxes of a set at their present addresses. Servers that are down are started for it. */
export async function withSandboxes<T>(
  of: SetName,
  { say }: { say: Say },
  work: (sandboxes: Sandbox[]) => Promise<T>,
): Promise<T> {
  const sandboxes = knownSandboxes(of);
  if (sandboxes.length === 0) return work([]);
  const running = (await isUp(of)) ? readServers(of) : null;
  if (!running) say(`the servers of ${of} are down: starting them for this`);
  try {
    const servers = running ?? (await up(of, { say }));
    return await work(sandboxes.map((sandbox) => atServers(sandbox, servers)));
  } finally {
    if (!running) await down(of, { say });
  }
}

export async function isUp(of: SetName): Promise<boolean> {
  return readServers(of) !== null && (await status(of)).every((row) => row.up);
}

/** A restarted server may have another port or password. The path (database, vhost) belongs to the sandbox. */
function atServers(sandbox: Sandbox, servers: Servers): Sandbox {
  const move = (url: string, server: string) =>
    Object.assign(new URL(server), { pathname: new URL(url).pathname }).href;
  return {
    ...sandbox,
    databases: perApp((app) => move(sandbox.databases[app], servers.databases[app])),
    rabbitmq: move(sandbox.rabbitmq, servers.rabbitmq),
    management: servers.management,
    redis: move(sandbox.redis, servers.redis),
  };
}
