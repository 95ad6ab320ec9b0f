import type { Logger } from '@nestjs/common';

/**
 * One line per change of what does not work. A problem is told when it is seen for the second time, so a connection
 * that is being made, or made again, is not told at all.
 */
export class StateLog {
  private seen = new Set<string>();
  private readonly told = new Set<string>();

  constructor(private readonly logger: Logger) {}

  /** @param problems by name, everything that does not work now */
  tell(problems: Readonly<Record<string, string>>): void {
    for (const [name, reason] of Object.entries(problems)) {
      if (!this.seen.has(name) || this.told.has(name)) continue;
      this.told.add(name);
      this.logger.warn(`degraded: ${name}: ${reason}`);
    }
    for (const name of this.told) {
      if (name in problems) continue;
      this.told.delete(name);
      this.logger.log(`${name} works again`);
    }
    this.seen = new Set(Object.keys(problems));
  }
}
