import { Injectable } from '@nestjs/common';

/** A dependency that does not work now: a short, stable name and the reason. */
export interface Condition {
  readonly name: string;
  readonly reason: string;
}

/**
 * Collects the state of the dependencies that only one part of the library knows. Each part registers itself at start.
 */
@Injectable()
export class Conditions {
  private readonly parts: Array<() => readonly Condition[]> = [];

  /** @param look returns the known state without waiting */
  register(look: () => readonly Condition[]): void {
    this.parts.push(look);
  }

  get all(): readonly Condition[] {
    return this.parts.flatMap((look) => look());
  }
}
