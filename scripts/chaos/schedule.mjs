// What will be broken, when, and for how long: data that a seed gives, so that a run can be repeated.
import { DATABASES } from '../infra/place.mjs';
import { NEMESES } from './nemeses.mjs';
import { random } from './random.mjs';

/** The servers that an instance of each app reaches over the network, as its proxies are named. */
export const PATHS = {
  order: ['database', 'broker', 'redis', 'payment', 'inventory'],
  payment: ['database', 'broker'],
  inventory: ['database', 'broker'],
};

const BEGIN_MS = 4_000;
/** The last part of a run is left whole, so that what was broken last is seen to heal under load. */
const END_MS = 10_000;
const REST_MS = [500, 3_500];

/** How a nemesis finds what it breaks. One function for each value of `on`. */
const TARGETS = {
  instance: (pick, { instances }) => ({ app: one(pick, DATABASES), instance: whole(pick, instances) }),
  path: (pick, { instances }) => {
    const app = one(pick, DATABASES);
    return { app, instance: whole(pick, instances), path: one(pick, PATHS[app]) };
  },
  database: (pick) => ({ app: one(pick, DATABASES) }),
  broker: () => ({}),
};

/**
 * @typedef {{ n: number, atMs: number, lastsMs: number, nemesis: string, target: { app?: string, instance?: number, path?: string } }} Step
 * @param {{ seed: number, minutes: number, instances: number, can?: (nemesis: import('./nemeses.mjs').Nemesis) => boolean }} options `can` leaves
 *   out what these servers do not allow
 * @returns {Step[]} in the order of their beginning; two or three may overlap
 */
export function scheduleOf({ seed, minutes, instances, can = () => true }) {
  const pick = random(seed);
  const usable = NEMESES.filter(can);
  const steps = [];
  for (let atMs = BEGIN_MS; atMs < minutes * 60_000 - END_MS; atMs += between(pick, REST_MS)) {
    const nemesis = one(pick, usable);
    const lastsMs = between(pick, nemesis.lastsMs);
    const target = TARGETS[nemesis.on](pick, { instances });
    if (isFree(steps, nemesis, { atMs, target }))
      steps.push({ n: steps.length + 1, atMs, lastsMs, nemesis: nemesis.name, target });
  }
  return steps;
}

/** At most three things are broken at once, and none of them twice: ending one would end the other. */
function isFree(steps, nemesis, { atMs, target }) {
  const running = steps.filter((step) => step.atMs + step.lastsMs + 1_000 > atMs);
  const isSame = (step) =>
    NEMESES.find(({ name }) => name === step.nemesis).on === nemesis.on && same(step.target, target);
  return running.length < 3 && !running.some(isSame);
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const whole = (pick, below) => Math.floor(pick() * below);
const one = (pick, list) => list[whole(pick, list.length)];
const between = (pick, [low, high]) => Math.round(low + pick() * (high - low));

/** One line for a person. */
export const lineOf = ({ atMs, lastsMs, nemesis, target: { app, instance, path } }) => {
  const where = [app && (instance === undefined ? app : `${app} ${instance + 1}`), path && `its ${path}`];
  return `${(atMs / 1_000).toFixed(1).padStart(6)} s  ${nemesis}${where.some(Boolean) ? ` (${where.filter(Boolean).join(', ')})` : ''}, for ${(lastsMs / 1_000).toFixed(1)} s`;
};
