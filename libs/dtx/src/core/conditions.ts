import { Injectable } from '@nestjs/common';

/** Something that does not work now, by a name that is short and stays the same, and why. */
export interface Condition {
  readonly name: string;
  readonly reason: string;
}

/** What a part of the library says of the dependencies that only it knows. Each part registers itself at start. */
@Injectable()
export class Conditions {
  private readonly parts: Array<() => readonly Condition[]> = [];

  /** @param look answers at once, from what is known */
  register(look: () => readonly Condition[]): void {
    this.parts.push(look);
  }

  get all(): readonly Condition[] {
    return this.parts.flatMap((look) => look());
  }
}
