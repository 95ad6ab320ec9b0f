// Outages on purpose: stops, kills and pauses single servers of a set, and brings them back on the same port and data.
import { join } from 'node:path';
import { OperatorError } from '../cli/operator-error.js';
import { ROOT } from '../infra-files.js';
import { withLock } from '../process/command-lock.js';
import { PROVISIONING, type ServerActions } from './provisioning.js';
import { kindOf, SERVERS, type Server, type ServerControl } from './server-set.js';
import { readState, writeState } from './server-set-files.js';

/**
 * `start` resolves once the server answers again. A server that was given by URL cannot be controlled: `supported` is
 * false and every call rejects.
 */
export function control(name: string): Record<Server, ServerControl> {
  return Object.fromEntries(SERVERS.map((server) => [server, controlOf(name, server)])) as Record<
    Server,
    ServerControl
  >;
}

/** Runs rabbitmqctl in the broker of a set. Rejects for a broker that was given by URL. */
export async function brokerCtl(name: string, ...args: string[]): Promise<void> {
  const state = readState(name);
  const provision = state.ways.rabbitmq;
  const run = provision && PROVISIONING[provision].brokerCtl;
  if (!run)
    throw new OperatorError(`cannot run rabbitmqctl ${args[0]}: the broker of ${name} is not run by this command`);
  await run({ name, state, say: () => {}, save: () => {} }, args);
}

function controlOf(name: string, server: Server): ServerControl {
  const actions = () => {
    const provision = readState(name).ways[kindOf(server)];
    return provision ? PROVISIONING[provision].control : null;
  };
  const act = (action: keyof ServerActions) => async () => {
    const available = actions();
    if (!available)
      throw new OperatorError(`cannot ${action} ${server} of ${name}: the server is not run by this command`);
    const state = readState(name);
    const set = { name, state, say: () => {}, save: () => writeState(name, state) };
    const exclusively = <T>(work: () => T | Promise<T>) =>
      withLock(join(ROOT, '.infra', `${name}.lock`), { say: () => {}, what: `the servers of ${name}` }, work);
    await available[action](set, server, exclusively);
  };
  return {
    stop: act('stop'),
    start: act('start'),
    kill: act('kill'),
    pause: act('pause'),
    resume: act('resume'),
    get supported() {
      return actions() !== null;
    },
  };
}
