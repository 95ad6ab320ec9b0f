// The failpoints as the library declares them, and near misses for an unknown name.
import { appOf } from '@nest-dtx/shop';
import { allFailpoints, type Failpoint as DeclaredFailpoint } from 'nest-dtx';
import { OperatorError } from '../../cli/operator-error.js';
import type { App } from '../../servers/server-set.js';

/** A failpoint of one of the demo's apps. */
export type Failpoint = DeclaredFailpoint & { readonly app: App };

const NEAR_MAX = 5;

/**
 * Points of messages with a key, of a saga that waits for a signal, of an expiry after half an hour, and of one at the very
 * time of the payment. Crash tests have apps of their own for them.
 */
const NOT_IN_THE_DEMO = [
  'saga.signalled',
  'saga.signal-taken',
  'local-message.due',
  'local-message.cancel-inboxed',
  'local-message.keyed',
  'local-message.not-head',
  'local-message.released',
  'local-message.parked-there',
];

/** The failpoints that the demo reaches. */
export const knownFailpoints = (): Failpoint[] =>
  allFailpoints()
    .filter(({ name }) => !NOT_IN_THE_DEMO.includes(name))
    .map((point) => ({ ...point, app: appOf(point) as App }));

export function findFailpoint(name: string): Failpoint {
  const points = knownFailpoints();
  const found = points.find((point) => point.name === name);
  if (found) return found;
  if (NOT_IN_THE_DEMO.includes(name))
    throw new OperatorError(`the demo does not reach ${name}; the apps of test/crash-matrix do`);
  const near = points
    .map((point) => ({ name: point.name, distance: distanceTo(name, point.name) }))
    .sort((one, other) => one.distance - other.distance)
    .slice(0, NEAR_MAX);
  throw new OperatorError(
    `unknown failpoint "${name}"; near it: ${near.map((one) => one.name).join(', ')}. "npm run failpoints" lists all`,
  );
}

/** A part of a name counts as nearer than any misspelling. */
function distanceTo(asked: string, name: string): number {
  return name.includes(asked) ? 0 : 1 + editDistance(asked, name);
}

function editDistance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 1; i <= one.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const replaced = row[j - 1]! + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[other.length]!;
}
