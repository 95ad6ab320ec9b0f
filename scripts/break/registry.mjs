// The failpoints as the library declares them, and near misses for a name that is none.
import { OperatorError } from '../command/entry.mjs';
import { prepare } from '../prepare.mjs';

const NEAR_MAX = 5;

/** @returns {Promise<Array<{ name: string, scheme: string, step: number, app: string, disk: string, finisher: string }>>} */
export async function knownFailpoints({ say, builds = true }) {
  await prepare({ say, builds });
  const { allFailpoints } = await import('nest-dtx');
  const { appOf } = await import('@nest-dtx/shop');
  return allFailpoints().map((point) => ({ ...point, app: appOf(point) }));
}

export function findFailpoint(points, name) {
  const found = points.find((point) => point.name === name);
  if (found) return found;
  const near = points
    .map((point) => ({ name: point.name, distance: distanceTo(name, point.name) }))
    .sort((one, other) => one.distance - other.distance)
    .slice(0, NEAR_MAX);
  throw new OperatorError(
    `there is no failpoint "${name}"; near it: ${near.map((one) => one.name).join(', ')}. "npm run failpoints" lists all`,
  );
}

/** A part of a name counts as nearer than any misspelling. */
function distanceTo(asked, name) {
  return name.includes(asked) ? 0 : 1 + editDistance(asked, name);
}

function editDistance(one, other) {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 1; i <= one.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const replaced = row[j - 1] + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[other.length];
}
