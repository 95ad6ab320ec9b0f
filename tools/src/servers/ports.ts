// Loopback ports of servers. They lie below the range that the kernel hands out to outgoing connections, so that no client
// can take (or connect to itself on) the port of a server that is down for a moment.
import { randomInt } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { ROOT, readJson } from '../infra-files.js';
import type { Ports, ServerState } from './server-set.js';

const [LOWEST, HIGHEST] = [20_000, 32_000] as const;

const isFree = (port: number) =>
  new Promise<boolean>((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)));
  });

/** A port is chosen once and kept as long as the data lives, unless another program has taken it. */
export async function keepOrChoosePort(state: ServerState, port: keyof Ports, say: Say): Promise<void> {
  const known = state.ports[port];
  if (known && (await isFree(known))) return;
  state.ports[port] = await choosePort(state);
  if (known) say(`port ${known} of ${port} is taken by another program: ${state.ports[port]} instead`);
}

/** Ports that differ, for servers whose data is made anew at each start. */
export async function choosePorts(count: number): Promise<number[]> {
  const chosen = new Set<number>();
  while (chosen.size < count) chosen.add(await choosePort({ ways: {}, ports: {}, secrets: {} }));
  return [...chosen];
}

/** A port that is free now and is not remembered by another set of servers that happens to be down. */
async function choosePort(state: ServerState): Promise<number> {
  const reserved = reservedPorts(state);
  for (let tries = 0; tries < 500; tries += 1) {
    const port = randomInt(LOWEST, HIGHEST);
    if (!reserved.has(port) && (await isFree(port))) return port;
  }
  throw new OperatorError(`no free port on 127.0.0.1 between ${LOWEST} and ${HIGHEST}: free some`);
}

function reservedPorts(state: ServerState): Set<number> {
  const reserved = new Set(Object.values(state.ports));
  for (const name of readdirSync(join(ROOT, '.infra'))) {
    const other = readJson<ServerState>(join(ROOT, '.infra', name, 'state.json'));
    for (const port of Object.values(other?.ports ?? {})) reserved.add(port);
  }
  return reserved;
}
