import type { Logger } from '@nestjs/common';

/** Logs each problem once when it appears and once when it ends. */
export class ProblemLog {
  private readonly told = new Set<string>();

  constructor(private readonly logger: Logger) {}

  /** @param problems all current problems by name */
  tell(problems: Readonly<Record<string, string>>): void {
    for (const [name, reason] of Object.entries(problems)) {
      if (this.told.has(name)) continue;
      this.told.add(name);
      this.logger.warn(`${name}: ${reason}`);
    }
    for (const name of this.told) {
      if (name in problems) continue;
      this.told.delete(name);
      this.logger.log(`${name} works again`);
    }
  }
}
