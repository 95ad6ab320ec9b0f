// The schedule of a run: which nemesis strikes, when, and for how long. It is computed from a seed, so that a run can be
// repeated.
import { type App, DATABASES } from '../../servers/server-set.js';
import { NEMESES, type Nemesis, nemesisOf } from './nemeses.js';
import { random } from './seeded-random.js';

/** A server that an instance of an app reaches over the network, by the name of its proxy. */
export type NetworkPath = 'database' | 'broker' | 'redis' | 'payment' | 'inventory';

export const PATHS: Record<App, readonly NetworkPath[]> = {
  order: ['database', 'broker', 'redis', 'payment', 'inventory'],
  payment: ['database', 'broker'],
  inventory: ['database', 'broker'],
};

export const BEGIN_MS = 4_000;
/** The last part of a run has no new faults, so that the last ones are seen to heal under load. */
const END_MS = 10_000;
const REST_MS = [500, 3_500] as const;

type Pick01 = () => number;

/** A part of the system. Absent fields do not matter for the nemesis. */
export interface Target {
  readonly app?: App;
  readonly instance?: number;
  readonly path?: NetworkPath;
}

/** How the target of a nemesis is chosen. One function for each value of `on`. */
const TARGETS: Record<Nemesis['on'], (pick: Pick01, options: { instances: number }) => Target> = {
  instance: (pick, { instances }) => ({ app: one(pick, DATABASES), instance: whole(pick, instances) }),
  app: (pick) => ({ app: one(pick, DATABASES) }),
  path: (pick, { instances }) => {
    const app = one(pick, DATABASES);
    return { app, instance: whole(pick, instances), path: one(pick, PATHS[app]) };
  },
  database: (pick) => ({ app: one(pick, DATABASES) }),
  broker: () => ({}),
  handler: () => ({}),
};

export interface Step {
  readonly n: number;
  readonly atMs: number;
  readonly lastsMs: number;
  /** Its name. */
  readonly nemesis: string;
  readonly target: Target;
}

export interface ScheduleOptions {
  readonly seed: number;
  readonly minutes: number;
  readonly instances: number;
  /** False for a nemesis that these servers do not allow. */
  readonly can?: (nemesis: Nemesis) => boolean;
}

/** The steps in the order of their beginning. Up to three may overlap. */
export function scheduleOf({ seed, minutes, instances, can = () => true }: ScheduleOptions): Step[] {
  const pick = random(seed);
  const usable = NEMESES.filter(can);
  const steps: Step[] = [];
  for (let atMs = BEGIN_MS; atMs < minutes * 60_000 - END_MS; atMs += between(pick, REST_MS)) {
    const nemesis = one(pick, usable);
    const lastsMs = between(pick, nemesis.lastsMs);
    const target = TARGETS[nemesis.on](pick, { instances });
    if (isFree(steps, nemesis, atMs, target))
      steps.push({ n: steps.length + 1, atMs, lastsMs, nemesis: nemesis.name, target });
  }
  return steps;
}

/** When a part of a schedule is over, and its last faults are seen to have healed. */
export const endOf = (steps: readonly Step[]): number =>
  Math.max(BEGIN_MS, ...steps.map(({ atMs, lastsMs }) => atMs + lastsMs)) + END_MS;

/** At most three faults at once, and no target twice: the end of one fault would end the other. */
function isFree(steps: readonly Step[], nemesis: Nemesis, atMs: number, target: Target): boolean {
  const running = steps.filter((step) => step.atMs + step.lastsMs + 1_000 > atMs);
  const isSame = (step: Step) => nemesisOf(step.nemesis).on === nemesis.on && same(step.target, target);
  return running.length < 3 && !running.some(isSame);
}

const same = (a: Target, b: Target) => JSON.stringify(a) === JSON.stringify(b);
const whole = (pick: Pick01, below: number) => Math.floor(pick() * below);
const one = <T>(pick: Pick01, list: readonly T[]): T => list[whole(pick, list.length)]!;
const between = (pick: Pick01, [low, high]: readonly [number, number]) => Math.round(low + pick() * (high - low));

/** One line for a person. */
export const lineOf = ({ n, atMs, lastsMs, nemesis, target: { app, instance, path } }: Step): string => {
  const where = [app && (instance === undefined ? app : `${app} ${instance + 1}`), path && `its ${path}`];
  return `${`#${n}`.padStart(4)}${(atMs / 1_000).toFixed(1).padStart(7)} s  ${nemesis}${where.some(Boolean) ? ` (${where.filter(Boolean).join(', ')})` : ''}, for ${(lastsMs / 1_000).toFixed(1)} s`;
};
