// The ports of the apps: the documented ones, unless the caller names others or another program listens there.
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { type App, DATABASES } from '../servers/server-set.js';

const DEFAULTS: Record<App, number> = { order: 3001, payment: 3002, inventory: 3003 };
const LAB_DEFAULT = 3000;

/**
 * DTX_ORDER_PORT, DTX_PAYMENT_PORT and DTX_INVENTORY_PORT name a port, 0 = any free port. A default port that is taken is
 * replaced with a message. A port that was asked for is not replaced.
 */
export async function choosePorts({ say }: { say: Say }): Promise<Record<App, number>> {
  const ports: Record<App, number> = { ...DEFAULTS };
  for (const app of DATABASES) {
    const name = `DTX_${app.toUpperCase()}_PORT`;
    const asked = readPort(name);
    const wanted = asked ?? DEFAULTS[app];
    const isTaken = wanted !== 0 && !(await isFree(wanted));
    if (isTaken && asked)
      throw new OperatorError(`port ${wanted}, which ${name} asks for, is taken: name another, or 0 for any free one`);
    ports[app] = wanted === 0 || isTaken ? await anyFreePort() : wanted;
    if (isTaken) say(`port ${wanted} is taken: the ${app} app listens on ${ports[app]} this time`);
  }
  return ports;
}

/** DTX_LAB_PORT, by default 3000. Treated like the ports of the apps. */
export async function chooseLabPort({ say }: { say: Say }): Promise<number> {
  const asked = readPort('DTX_LAB_PORT');
  const wanted = asked ?? LAB_DEFAULT;
  if (wanted === 0 || (await isFree(wanted))) return wanted;
  if (asked)
    throw new OperatorError(
      `port ${wanted}, which DTX_LAB_PORT asks for, is taken: name another, or 0 for any free one`,
    );
  const port = await anyFreePort();
  say(`port ${wanted} is taken: the lab listens on ${port} this time`);
  return port;
}

function readPort(name: string): number | null {
  const text = process.env[name];
  if (text === undefined || text === '') return null;
  const port = Number(text);
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port;
  throw new OperatorError(`${name} is ${JSON.stringify(text)}: it must be a port, 0 to 65535`);
}

/** Below the range from which the kernel gives ports, on Linux and elsewhere. */
const OWN_PORTS = [20_000, 32_000] as const;
const TRIES_MAX = 100;
/** A port is free until its app listens, so it must not be given to a second one. */
const given = new Set<number>();

/**
 * A port that is free now. Other programs ask the kernel for any port while an app starts, or starts again, so a port of that
 * range may be taken before the app listens.
 */
export async function anyFreePort(): Promise<number> {
  for (let tried = 0; tried < TRIES_MAX; tried++) {
    const port = randomInt(...OWN_PORTS);
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
  throw new OperatorError(`no free port on 127.0.0.1 from ${OWN_PORTS.join(' to ')} in ${TRIES_MAX} tries: free some`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
