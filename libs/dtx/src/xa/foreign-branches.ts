import { Logger } from '@nestjs/common';
import type { Xid } from './xid.js';

/** A foreign branch younger than this is not reported, since its owner has its own recovery. */
const FOREIGN_AFTER_MS = 60_000;

/**
 * Logs old branches of other owners (another transaction manager or decision log), once per branch and process. Such
 * branches hold locks. Recovery never touches them.
 */
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
        this.logger.warn(
          `ignored a prepared branch of another owner: ${JSON.stringify(key)}; end it by hand if it is lost`,
        );
      this.since.set(key, isOld ? Number.POSITIVE_INFINITY : since);
    }
  }
}
