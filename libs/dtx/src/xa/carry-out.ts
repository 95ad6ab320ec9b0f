// For step 4, second phase: what was decided is done to one branch, wherever it works.

import { Injectable, Logger } from '@nestjs/common';
import { textOf } from '../core/errors/errors.js';
import type { XaBranch } from './branch.js';
import { commitBranch, type Place, rollBackBranch, type Settled, traceOf } from './in-doubt-branch.js';
import { Resources } from './resource-managers.js';
import type { XaRow } from './xa-tables.js';

/**
 * What came of one branch in one round. `away`: its database does not answer. `unknown`: no database that is configured
 * here has a trace of it; another instance may know the database by that name.
 */
export interface Carried {
  readonly settled: Settled | 'away' | 'unknown';
  readonly about: string;
}

const WHY = {
  done: 'done',
  away: 'the database does not answer',
  unknown: 'no database of this name is configured here, and none that is has a trace of the branch',
  held: 'a session still holds the branch',
  contrary: 'the branch is not there and has not left its witness: it has gone the other way (heuristic outcome)',
};

/** Commits and rolls back branches, on their own connections where this process has prepared them. */
@Injectable()
export class CarryOut {
  private readonly logger = new Logger('SecondPhase');

  constructor(private readonly resources: Resources) {}

  /** @param own the branch on the connection that has prepared it, if that is here */
  async one(row: XaRow, name: string, own: XaBranch | undefined): Promise<Carried> {
    const settled = await this.settle(row, name, own).catch((error) => {
      this.logger.warn(`${row.id}: ${row.decision} at ${name}: ${textOf(error)}`);
      return 'away' as const;
    });
    return { settled, about: `${row.decision} at ${name}: ${WHY[settled]}` };
  }

  /** On its own connection, which is given up unless the commit has succeeded on it. */
  async isCommitted(branch: XaBranch): Promise<boolean> {
    try {
      await branch.commit();
      return true;
    } catch {
      branch.giveUp();
      return false;
    }
  }

  private async settle(row: XaRow, name: string, own: XaBranch | undefined): Promise<Carried['settled']> {
    if (own && (await this.isCommitted(own))) return 'done';
    const place = await this.placeOf(row.gtrid, name);
    if (typeof place === 'string') return place;
    return row.decision === 'COMMIT' ? commitBranch(place) : rollBackBranch(place);
  }

  /**
   * Where the branch works: in the database of its name, or, when none is configured by that name, in the one that has a
   * trace of it. It was prepared by an instance that calls the database otherwise.
   */
  private async placeOf(gtrid: string, branch: string): Promise<Place | 'away' | 'unknown'> {
    const named = this.resources.branches.find(({ name }) => name === branch);
    if (named) return named.isKnown ? { resource: named, gtrid, branch } : 'away';
    const places = this.resources.branches
      .filter(({ isKnown }) => isKnown)
      .map((resource) => ({ resource, gtrid, branch }));
    const traces = await Promise.allSettled(places.map((place) => traceOf(place)));
    const found = traces.findIndex((trace) => trace.status === 'fulfilled' && trace.value !== null);
    if (found >= 0) return places[found]!;
    const isComplete =
      places.length === this.resources.branches.length && traces.every(({ status }) => status === 'fulfilled');
    return isComplete ? 'unknown' : 'away';
  }
}
