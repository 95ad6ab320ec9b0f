// Loopback ports that stay a server's own: below the range the kernel hands out to outgoing connections, so that no
// client can sit on (or connect to itself on) the port of a server that is down for a moment.

import { randomInt } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { InfraError, ROOT, readJson } from './place.mjs';

const [LOWEST, HIGHEST] = [20_000, 32_000];

const isFree = (port) =>
  new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)));
  });

/** A port is chosen once and kept as long as the data lives; only one that somebody else has taken is chosen anew. */
export async function keepOrChoosePort(state, port, say) {
  const known = state.ports[port];
  if (known && (await isFree(known))) return;
  state.ports[port] = await choosePort(state);
  if (known) say(`port ${known} of ${port} is taken by another program: ${state.ports[port]} instead`);
}

/** Free now, and not remembered by any other set of servers that merely happens to be down. */
async function choosePort(state) {
  const reserved = reservedPorts(state);
  for (let tries = 0; tries < 500; tries += 1) {
    const port = randomInt(LOWEST, HIGHEST);
    if (!reserved.has(port) && (await isFree(port))) return port;
  }
  throw new InfraError(`no free port on 127.0.0.1 between ${LOWEST} and ${HIGHEST}: free some`);
}

function reservedPorts(state) {
  const reserved = new Set(Object.values(state.ports));
  for (const name of readdirSync(join(ROOT, '.infra'))) {
    const other = readJson(join(ROOT, '.infra', name, 'state.json'));
    for (const port of Object.values(other?.ports ?? {})) reserved.add(port);
  }
  return reserved;
}
