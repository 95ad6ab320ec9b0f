// The ports of the apps: the documented ones, unless the caller names others or somebody else listens there.
import { createServer } from 'node:net';
import { OperatorError } from '../command/entry.mjs';

const DEFAULTS = { order: 3001, payment: 3002, inventory: 3003 };

/**
 * DTX_ORDER_PORT, DTX_PAYMENT_PORT and DTX_INVENTORY_PORT name a port, 0 = any free one. A default that is taken is
 * replaced and said so; one that was asked for is not.
 */
export async function choosePorts({ say }) {
  const ports = {};
  for (const [app, usual] of Object.entries(DEFAULTS)) {
    const name = `DTX_${app.toUpperCase()}_PORT`;
    const asked = readPort(name);
    const wanted = asked ?? usual;
    const isTaken = wanted !== 0 && !(await isFree(wanted));
    if (isTaken && asked)
      throw new OperatorError(`port ${wanted}, which ${name} asks for, is taken: name another, or 0 for any free one`);
    ports[app] = wanted === 0 || isTaken ? await anyFreePort() : wanted;
    if (isTaken) say(`port ${wanted} is taken: the ${app} app listens on ${ports[app]} this time`);
  }
  return ports;
}

function readPort(name) {
  const text = process.env[name];
  if (text === undefined || text === '') return null;
  const port = Number(text);
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port;
  throw new OperatorError(`${name} is ${JSON.stringify(text)}: it must be a port, 0 to 65535`);
}

const isFree = async (port) => (await listenOnce(port)) !== null;

export async function anyFreePort() {
  const port = await listenOnce(0);
  if (port === null) throw new OperatorError('no free port on 127.0.0.1: free some');
  return port;
}

function listenOnce(port) {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(null));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      const { port: found } = probe.address();
      probe.close(() => resolve(found));
    });
  });
}
