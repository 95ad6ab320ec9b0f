// The schemes with their crash points, in the order of the protocol.

import { armingOf } from '../break/arming-per-failpoint.js';
import { type Failpoint, knownFailpoints } from '../break/known-failpoints.js';

export interface ShownPoint {
  readonly name: string;
  readonly step: number;
  readonly role: string;
  readonly app: string;
  readonly disk: string;
  readonly finisher: string;
  /** How it is reached, if an ordinary purchase does not reach it. */
  readonly because: string | null;
}

export function schemesWithPoints(): Array<{ scheme: string; points: ShownPoint[] }> {
  const points = knownFailpoints();
  return [...new Set(points.map(({ scheme }) => scheme))].map((scheme) => ({
    scheme,
    points: points
      .filter((point) => point.scheme === scheme)
      .sort((one, other) => one.step - other.step)
      .map(shown),
  }));
}

function shown(point: Failpoint): ShownPoint {
  const { because = null } = armingOf(point, { mode: 'crash', failpointLog: '' });
  const { name, step, role, app, disk, finisher } = point;
  return { name, step, role, app, disk, finisher, because };
}
