import type { Logger } from '@nestjs/common';

/** One line in the log per change of what does not work. */
export class StateLog {
  private readonly told = new Set<string>();

  constructor(private readonly logger: Logger) {}

  /** @param problems by name, everything that does not work now */
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
