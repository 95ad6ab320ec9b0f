// Outages on purpose: stops, kills and pauses single servers of a set, and brings them back on the same port and data.
import { join } from 'node:path';
import { withLock } from './lock.mjs';
import { InfraError, kindOf, ROOT, readState, SERVERS, writeState } from './place.mjs';
import { WAYS } from './ways.mjs';

/**
 * { order, payment, inventory, rabbitmq, redis }, each { stop, start, kill, pause, resume, supported }.
 * `start` resolves once the server answers again. Servers given by URL are not ours: supported is false, calls refuse.
 */
export function control(name) {
  return Object.fromEntries(SERVERS.map((server) => [server, controlOf(name, server)]));
}

function controlOf(name, server) {
  const means = () => WAYS[readState(name).ways[kindOf(server)]]?.control ?? null;
  const act = (action) => async () => {
    const control = means();
    if (!control) throw new InfraError(`${server} of ${name} is not run by us, so it cannot be told to ${action}`);
    const state = readState(name);
    const context = { name, state, say: () => {}, save: () => writeState(name, state) };
    const exclusively = (work) =>
      withLock(join(ROOT, '.infra', `${name}.lock`), { say: () => {}, what: `the servers of ${name}` }, work);
    await control[action](context, server, exclusively);
  };
  return {
    stop: act('stop'),
    start: act('start'),
    kill: act('kill'),
    pause: act('pause'),
    resume: act('resume'),
    get supported() {
      return means() !== null;
    },
  };
}
