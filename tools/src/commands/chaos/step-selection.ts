// A part of a schedule, as --only and --shrink play it.
import { OperatorError } from '../../cli/operator-error.js';
import { BEGIN_MS, type Step } from './schedule.js';

/** Time without a fault that a part keeps between two faults. */
const IDLE_MAX_MS = 10_000;

/**
 * The steps with these numbers. Time without a fault is shortened, so that a part plays faster than its run. Steps that
 * overlap keep their distances.
 * @throws OperatorError if the schedule has no such step
 */
export function chosenSteps(schedule: readonly Step[], numbers: readonly number[]): Step[] {
  const known = new Set(schedule.map(({ n }) => n));
  const unknown = numbers.filter((n) => !known.has(n));
  if (unknown.length > 0)
    throw new OperatorError(
      `--only names step ${unknown.join(', ')}, but this seed has steps 1 to ${schedule.length} with these minutes`,
    );
  return withoutIdleTime(schedule.filter(({ n }) => numbers.includes(n)));
}

/** The first step begins when that of a whole run may begin at the earliest. */
function withoutIdleTime(steps: readonly Step[]): Step[] {
  const moved: Step[] = [];
  let cutMs = 0;
  let busyUntilMs = BEGIN_MS;
  for (const step of steps) {
    const allowedMs = moved.length === 0 ? 0 : IDLE_MAX_MS;
    const idleMs = step.atMs - cutMs - busyUntilMs;
    if (idleMs > allowedMs) cutMs += idleMs - allowedMs;
    const atMs = step.atMs - cutMs;
    moved.push({ ...step, atMs });
    busyUntilMs = Math.max(busyUntilMs, atMs + step.lastsMs);
  }
  return moved;
}
