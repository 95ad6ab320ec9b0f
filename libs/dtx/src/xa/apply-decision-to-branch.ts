// For step 4, second phase: the decision is applied to one branch, in the database where it works. If the process dies
// after the server has applied it, the next round finds that by the witness of the branch and counts it as done.

import { Injectable } from '@nestjs/common';
import { textOf } from '../core/errors/errors.js';
import { libraryLogger } from '../core/library-logger.js';
import type { XaBranch } from './branch.js';
import { commitBranch, type Place, type Resolution, rollBackBranch, traceOf } from './resolve-by-witness.js';
import { ResourceManagers } from './resource-manager-registry.js';
import type { XaRow } from './xa-tables.js';

/**
 * The result of one branch in one round. `unavailable`: its database does not answer. `unknown`: no database configured
 * here has a trace of the branch. Another instance may have the database under that name.
 */
export interface BranchResult {
  readonly name: string;
  readonly settled: Resolution | 'unavailable' | 'unknown';
  readonly about: string;
}

const WHY = {
  done: 'done',
  unavailable: 'the database does not answer',
  unknown: 'no database of this name is configured here, and no other one has a trace of the branch',
  held: 'a session still holds the branch',
  unlisted: 'a session still holds the branch',
  heuristic: 'the branch was resolved against the decision (heuristic outcome)',
};

/**
 * What an operator does about branches that are still held after any session of the library has ended, or an empty
 * text. MariaDB may answer XA COMMIT without an error while the session of the branch closes, and lose the branch. Its
 * locks then last until the server lists it again after a restart.
 */
export function remedyFor(open: readonly BranchResult[]): string {
  const lost = open.filter(({ settled }) => settled === 'unlisted').map(({ name }) => name);
  if (lost.length === 0) return '';
  const where = lost.join(' and ');
  return (
    `. XA RECOVER at ${where} does not list it: restart the database server of ${where} cleanly, then retry. If ` +
    'information_schema.innodb_trx shows a thread for its transaction, KILL that thread instead'
  );
}

/** Commits and rolls back branches. Branches that this process prepared are committed on their own connections. */
@Injectable()
export class CarryOut {
  private readonly logger = libraryLogger('xa second phase');

  constructor(private readonly resources: ResourceManagers) {}

  /** @param own the branch on the connection that prepared it, if this process has it */
  async one(row: XaRow, name: string, own: XaBranch | undefined): Promise<BranchResult> {
    const settled = await this.settle(row, name, own).catch((error) => {
      this.logger.warn(`cannot ${row.decision} ${row.id} at ${name}, retrying: ${textOf(error)}`);
      return 'unavailable' as const;
    });
    return { name, settled, about: `${row.decision} at ${name}: ${WHY[settled]}` };
  }

  /** Commits on the branch's own connection. The connection is ended unless the commit succeeded. */
  async isCommitted(branch: XaBranch): Promise<boolean> {
    try {
      await branch.commit();
      return true;
    } catch {
      branch.giveUp();
      return false;
    }
  }

  private async settle(row: XaRow, name: string, own: XaBranch | undefined): Promise<BranchResult['settled']> {
    if (own && (await this.isCommitted(own))) return 'done';
    const place = await this.placeOf(row.gtrid, name);
    if (typeof place === 'string') return place;
    return row.decision === 'COMMIT' ? commitBranch(place) : rollBackBranch(place);
  }

  /**
   * The database in which the branch works: the one of its name, otherwise the one with a trace of it. An instance with
   * another name for the database may have prepared the branch.
   */
  private async placeOf(gtrid: string, branch: string): Promise<Place | 'unavailable' | 'unknown'> {
    const named = this.resources.branches.find(({ name }) => name === branch);
    if (named) return named.isKnown ? { resource: named, gtrid, branch } : 'unavailable';
    const places = this.resources.branches
      .filter(({ isKnown }) => isKnown)
      .map((resource) => ({ resource, gtrid, branch }));
    const traces = await Promise.allSettled(places.map((place) => traceOf(place)));
    const found = traces.findIndex((trace) => trace.status === 'fulfilled' && trace.value !== null);
    if (found >= 0) return places[found]!;
    const isComplete =
      places.length === this.resources.branches.length && traces.every(({ status }) => status === 'fulfilled');
    return isComplete ? 'unknown' : 'unavailable';
  }
}
