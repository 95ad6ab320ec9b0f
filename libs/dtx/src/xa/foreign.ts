import { Logger } from '@nestjs/common';
import type { Xid } from './xid.js';

/** How long a branch that is not ours may stay before it is spoken of: others have their own recovery. */
const FOREIGN_AFTER_MS = 60_000;

/** Speaks of branches that are not ours, once each and process, when they have been there for long: they hold locks. */
export class ForeignBranches {
  private readonly since = new Map<string, number>();

  constructor(private readonly logger: Logger) {}

  report(server: string, foreign: readonly Xid[]): void {
    const keys = new Set(foreign.map(({ formatId, gtrid, branch }) => `${server} ${formatId} ${gtrid} ${branch}`));
    for (const key of this.since.keys()) if (key.startsWith(`${server} `) && !keys.has(key)) this.since.delete(key);
    for (const key of keys) {
      const since = this.since.get(key) ?? performance.now();
      const isOld = performance.now() - since > FOREIGN_AFTER_MS;
      if (isOld)
        this.logger.warn(`a prepared branch that is not ours stays at ${JSON.stringify(key)}; it is left alone`);
      this.since.set(key, isOld ? Number.POSITIVE_INFINITY : since);
    }
  }
}
